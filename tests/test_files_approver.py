"""The native approver's directory, each file spoilt in every way: it says which, decides nothing, and waits for nothing."""

import subprocess
import time

import pytest
from lab import paths
from lab.peer import Peer, login
from lab.process import wait_until
from lab.spoil import WAYS, spoilt, untouched

PATIENCE = 3
# What is open to others is refused here, too, and root reads everything.
MORE = {"readable by its group": lambda path: path.chmod(0o640), "readable by everybody": lambda path: path.chmod(0o604)}
NOT_HERE = {"unreadable"}


@pytest.fixture
def device(stack):
    phone = stack.approver("alice")
    with Peer() as peer:
        peer.step(login())
        # Closed and decided requests leave files of their own.
        phone.decide(phone.next_request(), "deny")
        phone.wait_closed(phone.requests()[0])
    stack.daemon.command("unblock", "--all")
    phone.stop()
    return phone


def approve(device):
    """Starts it, with nothing to type; gives what it said, and its exit status."""
    argv = [paths.COMMAND, "approve", "--home", device.home, "--plain"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout + done.stderr


def test_a_file_that_is_spoilt_is_named_and_nothing_is_decided(device):
    names = sorted(path.name for path in device.home.iterdir() if path.name != "history.jsonl")
    assert {"identity.json", "id_ed25519", "seal_key", "hosts.json", "counter", "lock"} <= set(names)
    WAYS.update(MORE)
    try:
        for name in names:
            path = device.home / name
            for way in WAYS.keys() - NOT_HERE:
                if name == "lock" and way in ("garbage", "huge"):
                    continue  # Nobody looks into it.
                with spoilt(path, way):
                    before, started = untouched(path, way), time.monotonic()
                    status, said = approve(device)
                    assert time.monotonic() - started < PATIENCE
                    assert status in (4, 5), f"{name}, {way}: {status} {said}"
                    assert len(said.splitlines()) == 1 and f"{path}: " in said, f"{name}, {way}: {said!r}"
                    assert untouched(path, way) == before, f"{name}, {way}"
    finally:
        for way in MORE:
            del WAYS[way]


def test_a_file_of_which_a_part_is_left_is_named(device):
    for name in ("identity.json", "id_ed25519", "seal_key", "hosts.json"):
        path = device.home / name
        whole = path.read_bytes()
        for length in sorted({0, 1, len(whole) // 2, len(whole) - 3}):
            path.write_bytes(whole[:length])
            status, said = approve(device)
            assert status == 5 and f"{path}: " in said, f"{name}, {length} bytes: {status} {said}"
        path.write_bytes(whole)
    device.start()
    device.wait_for("connected")


def test_a_history_that_cannot_be_written_does_not_keep_a_login_waiting(stack, device):
    """It is only for looking back; the approver says that it is not kept, and goes on."""
    history = device.home / "history.jsonl"
    for way in ("a pipe", "a link", "a directory", "somebody else's"):
        with spoilt(history, way):
            device.events.clear()
            device.start()
            device.wait_for("connected")
            with Peer() as peer:
                peer.step(login())
                code = device.approve(device.next_request())
                assert peer.step(login("Continue", answer=code))["outcome"] == "granted", way
            wait_until(lambda: str(history) in device.said(), 5, f"{way}: it is said")
            device.stop()
