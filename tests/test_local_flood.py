"""One user's programs against everybody's logins: ten thousand connections, and connections that never get on."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import paths
from lab.accounts import as_user_argv
from lab.daemon import STATE
from lab.peer import EVERYBODY, Peer, ask, login, manage
from lab.process import wait_until
from lab.terminal import on_terminal_of

CONNECTIONS = 10_000
PLACES = 4
# A frame that was begun has five seconds, and so has an answer that is not taken.
FRAME_SECONDS = 5
STATUS = b'{"method":"org.countersign.Manage.Status","parameters":{}}\0'


def memory(stack):
    """The daemon's resident memory in KiB."""
    return int(Path(f"/proc/{stack.daemon.process.pid}/status").read_text().split("VmRSS:")[1].split()[0])


def descriptors(stack):
    return len(list(Path(f"/proc/{stack.daemon.process.pid}/fd").iterdir()))


def sudo_works(phone, seconds=5):
    """A whole login, in at most so many seconds."""
    started, asked = time.monotonic(), len(phone.requests())
    run = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    run.answer_password("alice-password")
    run.answer_code(phone.approve(phone.next_request(after=asked)))
    assert run.finish() == 0 and run.lines()[-1] == "0"
    assert time.monotonic() - started < seconds


# As the user: opens so many connections, asks on each, and holds all of them until its input ends.
FLOOD = """
import collections, json, resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held, heard = [], collections.Counter()
for _ in range(int(sys.argv[2])):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    try:
        peer.sendall(%r)
    except BrokenPipeError:
        pass
    heard[json.loads(peer.recv(65536).split(b"\\0")[0]).get("error", "answered")] += 1
    held.append(peer)
print(json.dumps(heard), flush=True)
sys.stdin.read()
""" % STATUS


def test_ten_thousand_connections_of_one_user_cost_the_others_nothing(stack, syslog):
    phone = stack.approver("alice")
    sudo_works(phone)
    before, open_before, mark = memory(stack), descriptors(stack), syslog.mark()
    argv = as_user_argv("bob", "/usr/bin/python3", "-c", FLOOD, str(EVERYBODY), str(CONNECTIONS))
    flood = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(flood.stdout.readline()) == {"answered": PLACES, "org.countersign.Busy": CONNECTIONS - PLACES}
        # All are open at his end; at the daemon's there are his four.
        wait_until(lambda: descriptors(stack) <= open_before + PLACES, 10, "the refused connections are closed")
        assert memory(stack) - before < 8 * 1024, "KiB for ten thousand connections"
        assert ask(manage("Status"), "bob")["error"] == "org.countersign.Busy"
        # Root's programs and other users do not notice.
        sudo_works(phone)
        assert "parameters" in ask(manage("Status"), "alice")
    finally:
        flood.communicate("")
    told = [line for line in syslog.lines("too many connections", after=mark) if "countersignd[" in line]
    assert 1 <= len(told) <= 10, f"{len(told)} lines: who floods the daemon must not flood the log"
    wait_until(lambda: "parameters" in ask(manage("Status"), "bob"), 5, "bob has his places back")


def test_connections_that_come_and_go_at_once_leave_nothing(stack, syslog):
    phone = stack.approver("alice")
    sudo_works(phone)
    before, open_before, mark = memory(stack), descriptors(stack), syslog.mark()
    for number in range(3_000):
        with Peer(EVERYBODY, "bob") as peer:
            peer.send((b"", b"{", STATUS, b"\0", b"\xff\0", b"x" * 20_000)[number % 6])
    wait_until(lambda: descriptors(stack) <= open_before, 10, "all connections are closed")
    assert memory(stack) - before < 8 * 1024
    sudo_works(phone)
    assert len(syslog.lines("countersignd[", after=mark)) < 100


# As users who have subordinate ones (/etc/subuid): three calls by each of so many numbers, held until the input ends.
NUMBERS = 3_000
MANY = """
import os, resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for number in range(100_000, 100_000 + int(sys.argv[2])):
    for call in (%r, b"x\\0", %r):
        os.seteuid(number)
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(sys.argv[1])
        os.seteuid(0)
        try:
            peer.sendall(call)
        except BrokenPipeError:
            pass
        held.append(peer)
print(len(held), flush=True)
sys.stdin.read()
""" % (STATUS, json.dumps(login(user="alice")).encode() + b"\0")


def test_thousands_of_numbers_of_one_user_cost_the_others_nothing(stack, syslog):
    phone = stack.approver("alice")
    sudo_works(phone)
    before, open_before, mark = memory(stack), descriptors(stack), syslog.mark()
    records = len(stack.daemon.audit())
    argv = ["/usr/bin/python3", "-c", MANY, str(EVERYBODY), str(NUMBERS)]
    flood = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert int(flood.stdout.readline()) == 3 * NUMBERS
        wait_until(lambda: descriptors(stack) <= open_before + PLACES, 30, "of all of them there are four")
        assert memory(stack) - before < 16 * 1024, "KiB for nine thousand connections"
        sudo_works(phone)
        assert "parameters" in ask(manage("Status"), "bob")
        lines = [line for line in syslog.lines("countersignd[", after=mark) if "user 10" in line]
        assert 1 <= len(lines) <= 70, f"{len(lines)} lines: who has many numbers must not flood the log"
        assert len(stack.daemon.audit()) == records + 1, "nobody who is no user is written down but in the log"
    finally:
        flood.communicate("")
    wait_until(lambda: descriptors(stack) <= open_before, 10, "all connections are closed")


def test_where_few_files_may_be_open_root_has_some(stack, syslog, monkeypatch):
    phone = stack.approver("alice")
    stack.daemon.stop()
    few = paths.BUILT / "countersignd-with-few-files"
    few.write_text(f'#!/bin/sh\nulimit -n 64\nexec {paths.DAEMON} "$@"\n')
    few.chmod(0o755)
    monkeypatch.setattr(paths, "DAEMON", few)
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "connected")
    mark = syslog.mark()
    # As many of them as the kernel lets wait, and none says anything.
    held = [Peer(EVERYBODY, number) for number in range(100_000, 100_200)]
    try:
        sudo_works(phone)
        # What is looked at now is read, and not only known from before.
        (STATE / "approvers").touch()
        sudo_works(phone)
    finally:
        for peer in held:
            peer.close()
    assert not syslog.lines("cannot be used", after=mark) and len(syslog.lines("could not be taken", after=mark)) <= 1


def slow(peer, how):
    """Says something in a way that never comes to an end; returns how long the daemon put up with it."""
    started = time.monotonic()
    while time.monotonic() - started < 4 * FRAME_SECONDS:
        try:
            match how:
                case "one byte a second":
                    peer.socket.send(b"{")
                    time.sleep(1)
                case "half a frame" | "no end" | "silence":
                    return peer.wait_closed(3 * FRAME_SECONDS)
                case "reads no answer":
                    peer.socket.settimeout(1)
                    peer.socket.send(STATUS)
        except TimeoutError:
            time.sleep(0.2)
        except OSError:
            return time.monotonic() - started
    raise AssertionError(f"{how}: the daemon went along for {time.monotonic() - started:.0f} s")


def test_slow_and_silent_peers_are_given_up_and_nobody_waits_for_them(stack):
    phone = stack.approver("alice")
    first = {"one byte a second": b"", "half a frame": STATUS[:30], "no end": STATUS[:-1], "silence": b"", "reads no answer": b""}
    peers = []
    # Each way by two users, so that none is refused for being one too many.
    for at, (how, begun) in enumerate(first.items()):
        for user in ("bob", "demo") if at < PLACES else ("alice", "rescue"):
            peer = Peer(EVERYBODY, user)
            peer.send(begun)
            peers.append((peer, how))
    with ThreadPoolExecutor(len(peers)) as pool:
        waits = [(how, pool.submit(slow, peer, how)) for peer, how in peers]
        # Beside them a login goes through as always, a user's own as well.
        sudo_works(phone)
        assert "parameters" in ask(manage("Status"), "alice")
        for how, wait in waits:
            assert FRAME_SECONDS - 1 < wait.result() < 2 * FRAME_SECONDS + 2, how
    for user in ("bob", "demo"):
        wait_until(lambda user=user: "parameters" in ask(manage("Status"), user), 5, f"{user} has places again")
    for peer, _ in peers:
        peer.close()


def test_logins_that_are_never_answered_do_not_keep_others_out(up):
    """Bob asks four times about himself and lets the prompts stand. He has a device: no place of those without is taken."""
    stack = up(wait="5s")
    phone, bob = stack.approver("alice"), stack.approver("bob")
    held = [Peer(EVERYBODY, "bob") for _ in range(PLACES)]
    for peer in held:
        assert peer.step(login(user="bob"))["step"] == "ask"
    sudo_works(phone)
    # Each ends by its own deadline, prompt or no prompt; then there is nothing left to approve.
    for request in bob.requests():
        assert bob.wait_closed(request, seconds=10)["outcome"] == "expired"
    assert stack.daemon.status()["waiting"] == 0
    for peer in held:
        peer.close()
