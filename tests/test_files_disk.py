"""A disk that is full or cannot be written, and a daemon that is killed at any moment: what was said to be done, is."""

import json
import os
import random
import subprocess
import threading
import time

import pytest
from lab import paths
from lab.approver import Approver
from lab.daemon import RUN, STATE
from lab.disk import Disk
from lab.peer import Peer, ask, login, manage
from lab.process import wait_until

# Pages that are left on the full disk: with none nothing can be written, with more a part of it.
LEFT = (0, 1, 2, 3, 4, 6)
ROUNDS = int(os.environ.get("COUNTERSIGN_ROUNDS", "8"))
CANNOT = "No space left on device"


@pytest.fixture
def disk(stack):
    stack.daemon.stop()
    disk = Disk(STATE)
    stack.daemon.start()
    connected(stack)
    yield stack, disk
    stack.daemon.stop()
    disk.unmount()


def connected(stack):
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is connected")


def killed(stack):
    """Ends the daemon as a crash would, and starts another; whatever a crash leaves, it starts, and its audit is whole."""
    stack.daemon.kill()
    stack.daemon.start()
    connected(stack)
    verified(stack)


def verified(stack):
    argv = [paths.COMMAND, "audit", "verify", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def failed(done):
    """The command's one line, which names what could not be written."""
    lines = done.stderr.splitlines()
    assert done.returncode == 5 and len(lines) == 1 and CANNOT in lines[0] and f"{STATE}/" in lines[0], done
    return True


def command(*words, stdin=None):
    argv = [paths.COMMAND, "--run", RUN, *words]
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=30, input=stdin)


def opens(code, user="alice"):
    """Whether a recovery code lets in; it is used up then."""
    with Peer() as peer:
        peer.step(login(user=user))
        return peer.step(login("Continue", answer=code)).get("outcome") == "granted"


def codes_of(done):
    return [line.strip() for line in done.stdout.splitlines() if line.count("-") == 3 and " " not in line.strip()]


def test_on_a_full_disk_new_codes_are_all_there_or_the_old_ones_are(disk):
    stack, small = disk
    old = codes_of(command("codes", "alice", "--recovery"))
    assert len(old) == 10
    outcomes = set()
    for leave in LEFT:
        small.fill(leave)
        done = command("codes", "alice", "--recovery")
        outcomes.add(done.returncode == 0)
        held = codes_of(done) if done.returncode == 0 else failed(done) and old
        small.empty()
        killed(stack)
        assert stack.daemon.command("codes", "alice")["left"] == len(held), f"{leave} pages"
        assert opens(held.pop()), f"{leave} pages"
        old = held
    assert outcomes == {True, False}, "some of the disks are full, some are not"


def test_on_a_full_disk_a_recovery_code_opens_only_when_it_is_used_up_for_good(disk):
    stack, small = disk
    held = codes_of(command("codes", "alice", "--recovery"))
    outcomes = set()
    for leave in LEFT:
        small.fill(leave)
        code = held.pop()
        granted = opens(code)
        outcomes.add(granted)
        small.empty()
        killed(stack)
        left = stack.daemon.command("codes", "alice")["left"]
        assert left == len(held) or (not granted and left == len(held) + 1), f"{leave} pages"
        if granted:
            assert not opens(code), f"{leave} pages: it opened twice"
        elif left > len(held):
            # Refused, and not lost.
            assert opens(code), f"{leave} pages"
    assert outcomes == {True, False}


def test_on_a_full_disk_a_device_is_revoked_for_good_or_it_is_said_that_it_is_not(disk):
    stack, small = disk
    outcomes = set()
    for leave in LEFT:
        phone = stack.approver("alice", f"phone{leave}")
        small.fill(leave)
        done = command("revoke", "alice", f"phone{leave}")
        outcomes.add(done.returncode == 0)
        small.empty()
        killed(stack)
        listed = [device["name"] for device in stack.daemon.command("devices")["devices"]]
        if done.returncode == 0:
            assert listed == [], f"{leave} pages"
            assert key_of(phone) in (STATE / "revoked").read_text()
        else:
            failed(done)
            # A second try, with room, ends it all the same.
            assert listed == [f"phone{leave}"]
            assert command("revoke", "alice", f"phone{leave}").returncode == 0
        phone.stop()
    assert outcomes == {True, False}


def key_of(approver):
    return (approver.home / "identity.json").read_text().split("ssh-ed25519 ")[1].split('"')[0].split("\\")[0]


def test_on_a_full_disk_a_device_is_paired_for_good_or_approves_nothing(disk):
    stack, small = disk
    outcomes = set()
    for leave in LEFT:
        phone = Approver(stack.directory / f"phone{leave}", f"phone{leave}")
        host = subprocess.Popen(
            [str(paths.COMMAND), "--run", str(RUN), "pair", "alice", "--json", "--no-ring"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        phone.start("--pair", json.loads(host.stdout.readline())["link"], "--name", phone.name)
        code = phone.wait_for("pairing-code")["code"]
        small.fill(leave)
        out, err = host.communicate(f"{code}\n", timeout=15)
        outcomes.add(host.returncode == 0)
        small.empty()
        killed(stack)
        listed = [device["name"] for device in stack.daemon.command("devices")["devices"]]
        if host.returncode == 0:
            assert phone.name in listed, f"{leave} pages"
            count = len(phone.requests())
            with Peer() as peer:
                peer.step(login())
                assert peer.step(login("Continue", answer=phone.approve(phone.next_request(after=count))))["outcome"] == "granted"
            assert command("revoke", "alice", phone.name).returncode == 0
        else:
            assert CANNOT in err and f"{STATE}/" in err, err
            assert phone.name not in listed and not phone.all("paired")
        phone.stop()
    assert outcomes == {True, False}


def test_on_a_full_disk_an_approval_opens_nothing_and_later_ones_do(disk, syslog):
    stack, small = disk
    phone = stack.approver("alice")
    outcomes = []
    # The last page of the file may have room for a record, so nothing is left several times.
    pages = (0, 0, 0, *LEFT)
    for number, leave in enumerate(pages):
        mark, before = syslog.mark(), len(stack.daemon.audit())
        with Peer() as peer:
            peer.step(login())
            code = phone.approve(phone.next_request(after=number))
            small.fill(leave)
            outcome = peer.step(login("Continue", answer=code))["outcome"]
        outcomes.append(outcome)
        if outcome == "fault":
            (line,) = [line for line in syslog.lines("the audit cannot be written", after=mark)]
            assert f"{STATE}/audit/audit.jsonl: " in line
        small.empty()
        # Without a new start: what is full today has room tomorrow.
        assert len(stack.daemon.audit()) == before + (outcome == "granted")
        verified(stack)
    assert set(outcomes) == {"fault", "granted"} and outcomes[-1] == "granted", outcomes
    killed(stack)
    with Peer() as peer:
        peer.step(login())
        code = phone.approve(phone.next_request(after=len(outcomes)))
        assert peer.step(login("Continue", answer=code))["outcome"] == "granted"


def test_on_a_disk_that_is_read_only_nothing_is_done_and_that_is_said(disk):
    stack, small = disk
    phone = stack.approver("alice")
    held = codes_of(command("codes", "alice", "--recovery"))
    with small.read_only():
        for words in (("codes", "alice", "--recovery"), ("revoke", "alice", phone.name)):
            done = command(*words)
            assert done.returncode == 5 and f"{STATE}/" in done.stderr and "Read-only file system" in done.stderr, done
        assert not opens(held[0])
    assert [device["name"] for device in stack.daemon.command("devices")["devices"]] == [phone.name]
    assert stack.daemon.command("codes", "alice")["left"] == 10 and opens(held[0])


def killed_meanwhile(daemon, seconds, action):
    """Does something, and kills the daemon after so many seconds; what came of it, None where the daemon was gone."""

    def kill():
        time.sleep(seconds)
        daemon.process.popen.kill()

    end = threading.Thread(target=kill)
    end.start()
    try:
        return action()
    except (OSError, TypeError):
        # No answer, or one that was cut off.
        return None
    finally:
        end.join()


def test_a_daemon_that_is_killed_at_any_moment_has_done_what_it_said(stack):
    """New codes, uses of codes, revocations: answered means done, whenever the end comes; and the next start is one."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moment = random.Random(seed)

    def took(action):
        started = time.monotonic()
        return action(), time.monotonic() - started

    def left():
        return stack.daemon.command("codes", "alice")["left"]

    def new_codes():
        return ask(manage("NewCodes", user="alice", count=3))["parameters"]["codes"]

    held, seconds = took(new_codes)
    _, to_use = took(lambda: opens(held.pop()))
    done = {"codes": [], "use": [], "revoke": []}
    for number in range(ROUNDS):
        made = killed_meanwhile(stack.daemon, moment.uniform(0, 4 * seconds), new_codes)
        killed(stack)
        done["codes"].append(bool(made))
        assert left() == 3 if made else left() in (3, len(held))
        # Of codes that nobody has heard there is no more to be said.
        held = made or new_codes()

        code, before = held.pop(), left()
        opened = killed_meanwhile(stack.daemon, moment.uniform(0, 4 * to_use), lambda code=code: opens(code))
        killed(stack)
        done["use"].append(bool(opened))
        if opened:
            assert left() == before - 1 and not opens(code), "it opened twice"

        if number % 4 == 3:
            # It counts how often a host asks; with another start it begins anew.
            stack.server.stop()
            stack.server.start()
            wait_until(lambda: not stack.daemon.status()["connected"], 5, "the daemon has noticed")
            connected(stack)
        phone = stack.approver("alice", f"phone{number}")
        phone.stop()
        revoke = manage("Revoke", user="alice", device=phone.name)
        revoked = killed_meanwhile(stack.daemon, moment.uniform(0, 0.02), lambda revoke=revoke: ask(revoke)["parameters"])
        killed(stack)
        done["revoke"].append(bool(revoked))
        listed = [device["name"] for device in stack.daemon.command("devices")["devices"]]
        if revoked:
            assert phone.name not in listed
        elif phone.name in listed:
            stack.daemon.command("revoke", "alice", phone.name)
        assert key_of(phone) in (STATE / "revoked").read_text()
    print(f"answered in time: { {what: sum(answers) for what, answers in done.items()} } of {ROUNDS}")
