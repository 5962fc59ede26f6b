"""The daemon's files, each spoilt in every way: a refusal and a line that names the place; never a hang, never a hole."""

import shutil
import subprocess
import time

import pytest
from lab import paths, tls
from lab.accounts import as_user_argv
from lab.daemon import CONFIG, STATE
from lab.peer import Peer, login
from lab.process import wait_until
from lab.spoil import WAYS, spoilt, untouched

ETC = CONFIG.parent
# Nothing that is wrong with a file may take longer to be noticed.
PATIENCE = 3


def first_step():
    """What a login of alice's begins with: the step, or the outcome."""
    with Peer() as peer:
        step = peer.step(login(), seconds=PATIENCE)
        return step.get("outcome") or step["step"]


def said(daemon):
    return daemon.process.log_path.read_text(errors="replace")


def faults(stack):
    return stack.daemon.status()["config_faults"]


def test_a_policy_that_is_spoilt_refuses_at_a_start_and_changes_nothing_later(stack):
    stack.approver("alice")
    for way in WAYS:
        stack.daemon.stop()
        with spoilt(CONFIG, way):
            stack.daemon.process.log_path.write_text("")
            stack.daemon.start()
            assert first_step() == "misconfigured", way
            assert f"{CONFIG}: " in said(stack.daemon) or f"{CONFIG}:1:" in said(stack.daemon), f"{way}: {said(stack.daemon)}"
            told = faults(stack)
            assert all(str(CONFIG) in fault for fault in told) and told, f"{way}: {told}"
        # Repaired, without a new start.
        stack.daemon.reload()
        wait_until(lambda: not faults(stack), 5, f"{way}: the policy is in force again")
        assert first_step() == "ask", way
        with spoilt(CONFIG, way):
            stack.daemon.reload()
            wait_until(lambda: faults(stack), 5, f"{way}: the fault is told")
            assert first_step() == "ask", f"{way}: the good policy stays"


def test_a_policy_that_ends_too_early_is_told_where_or_is_a_policy(stack):
    """Cut at every byte: what is left parses as what it says, or is refused with its place; it never lets somebody through."""
    whole = CONFIG.read_bytes()
    for length in range(len(whole)):
        CONFIG.write_bytes(whole[:length])
        done = subprocess.run([paths.DAEMON, "--check", "--config", CONFIG], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode in (0, 1), f"{length}: {done}"
        if done.returncode:
            assert str(CONFIG) in done.stderr, f"{length}: {done.stderr}"
        elif b"[default]" not in whole[:length]:
            assert b"server" in whole[:length]
    stack.daemon.stop()
    # The shortest that is one asks, as does the whole.
    CONFIG.write_bytes(whole[: whole.index(b"[default]")])
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "connected")
    stack.approver("alice")
    assert first_step() == "ask"


def test_a_service_does_not_own_its_policy(stack):
    """As under systemd, where the daemon's own user starts it."""
    stack.daemon.stop()

    def check(*words):
        argv = as_user_argv("countersign", str(paths.DAEMON), "--check", *words)
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)

    assert check().returncode == 0
    shutil.chown(CONFIG, "countersign")
    done = check()
    assert done.returncode == 1 and f"{CONFIG}: it belongs to user " in done.stderr and "root's" in done.stderr, done
    # By hand, for oneself.
    own = paths.BUILT / "own.toml"
    own.write_bytes(CONFIG.read_bytes())
    shutil.chown(own, "countersign")
    assert check("--config", str(own)).returncode == 0


def test_certificates_that_are_spoilt_leave_the_connection_that_there_is(up, tmp_path, syslog):
    stack = up(tls=tls.make(tmp_path / "tls"), confirm="tap")
    phone = stack.approver("alice")
    for number, way in enumerate(WAYS):
        with spoilt(stack.daemon.ca, way):
            stack.daemon.reload()
            wait_until(lambda: faults(stack), 5, f"{way}: the fault is told")
            assert str(stack.daemon.ca) in faults(stack)[0] or way == "garbage", faults(stack)
            assert granted(phone, number, syslog), f"{way}: the good connection stays"
        stack.daemon.reload()
        wait_until(lambda: not faults(stack) and stack.daemon.status()["connected"], 10, f"{way}: all is well again")


def granted(phone, before, syslog):
    """Whether a login that alice approves is let in. One whose approval is not believed is not waited for."""
    mark = syslog.mark()
    with Peer() as peer:
        step = peer.step(login())
        assert step["step"] == "say", step
        peer.send(login("Continue"))
        phone.approve(phone.next_request(after=before))
        wait_until(lambda: peer.is_answered() or syslog.lines("is not believed", after=mark), PATIENCE, "a verdict")
        return peer.is_answered() and peer.receive()["parameters"]["outcome"] == "granted"


@pytest.fixture
def tapping(up):
    stack = up(confirm="tap")
    return stack, stack.approver("alice")


def test_approvers_and_revoked_keys_that_are_spoilt_let_nobody_approve(tapping, syslog):
    stack, phone = tapping
    files = {
        # File: what stands in it, and whether alice's phone may still approve by another one while it is spoilt.
        STATE / "approvers": (None, False),
        STATE / "revoked": ("# nobody\n", False),
        ETC / "approvers": ("# nobody\n", True),
        ETC / "revoked": ("# nobody\n", False),
    }
    count = 0
    for path, (content, may) in files.items():
        if content is not None:
            path.write_text(content)
            path.chmod(0o644)
        for way in WAYS:
            mark = syslog.mark()
            with spoilt(path, way):
                assert granted(phone, count, syslog) == may, f"{path}: {way}"
                count += 1
                told = [line for line in syslog.lines(f"{path}: ", after=mark) if "nobody can approve" in line]
                assert told, f"{path}: {way}: the log names no place"
        # And back again, without a new start.
        assert granted(phone, count, syslog), path
        count += 1


# What a file must not be either, where it is more than the administrator's.
SECRET = {"host_key": {"readable by others": lambda path: path.chmod(0o644)}}
# Its content is never looked at, and nobody but the daemon gets at it.
LOCK = {"a link", "a dangling link", "a link to an endless device", "a directory", "a pipe", "a socket"}


def test_state_that_is_spoilt_is_no_start_and_is_left_as_it_is(stack):
    stack.approver("alice")
    stack.daemon.command("codes", "alice", "--recovery")
    with Peer() as peer:
        peer.step(login())
        # A wrong recovery code makes the file of failures.
        peer.step(login("Continue", answer="0000-0000-0000-0000"))
    stack.daemon.stop()
    names = ["host_key", "devices.json", "recovery.json", "budget.json", "audit/audit.jsonl", "lock"]
    WAYS.update(SECRET["host_key"])
    try:
        for name in names:
            path = STATE / name
            for way in WAYS:
                if name == "lock" and way not in LOCK or name != "host_key" and way in SECRET["host_key"]:
                    continue
                with spoilt(path, way):
                    before = untouched(path, way)
                    stack.daemon.process.log_path.write_text("")
                    started = time.monotonic()
                    stack.daemon.start(expect_ready=False)
                    wait_until(lambda: not stack.daemon.process.alive(), PATIENCE, f"{name}, {way}: there is no daemon")
                    assert time.monotonic() - started < PATIENCE
                    assert stack.daemon.process.popen.returncode == 1
                    lines = [line for line in said(stack.daemon).splitlines() if "this host is" not in line]
                    assert len(lines) == 1 and f"{path}: " in lines[0], f"{name}, {way}: {lines}"
                    assert untouched(path, way) == before, f"{name}, {way}"
    finally:
        for way in SECRET["host_key"]:
            del WAYS[way]
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "all is as it was")
    assert stack.daemon.command("codes", "alice")["left"] == 10 and len(stack.daemon.command("devices")["devices"]) == 1


def test_devices_that_are_lost_are_no_first_start(stack):
    """Else everybody would be new, and a policy that spares new people would spare all."""
    path = STATE / "devices.json"
    assert path.exists(), "there from the first start on, so that a missing one was lost"
    stack.approver("alice")
    stack.daemon.stop()
    kept = path.rename(STATE / "aside")
    stack.daemon.process.log_path.write_text("")
    stack.daemon.start(expect_ready=False)
    wait_until(lambda: not stack.daemon.process.alive(), PATIENCE, "there is no daemon")
    lines = [line for line in said(stack.daemon).splitlines() if "this host is" not in line]
    assert len(lines) == 1 and f"{path}: it is missing" in lines[0] and "restore it" in lines[0], lines
    assert not path.exists()
    kept.rename(path)
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "all is as it was")
    assert first_step() == "ask"


def test_state_of_which_a_part_is_left_is_no_start(stack):
    """A sample of lengths; the unit tests take every one."""
    stack.approver("alice")
    stack.daemon.command("codes", "alice", "--recovery")
    stack.daemon.stop()
    for name in ("host_key", "devices.json", "recovery.json"):
        path = STATE / name
        whole = path.read_bytes()
        for length in sorted({0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2}):
            path.write_bytes(whole[:length])
            stack.daemon.process.log_path.write_text("")
            stack.daemon.start(expect_ready=False)
            wait_until(lambda: not stack.daemon.process.alive(), PATIENCE, f"{name}, {length} bytes: there is no daemon")
            assert f"{path}: " in said(stack.daemon), said(stack.daemon)
            assert path.read_bytes() == whole[:length]
        path.write_bytes(whole)
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "all is as it was")


def test_a_folder_that_is_not_the_daemons_alone_is_no_start(stack):
    stack.daemon.stop()
    changes = {
        "writable by its group": (lambda: STATE.chmod(0o770), lambda: STATE.chmod(0o700)),
        "writable by everybody": (lambda: STATE.chmod(0o777), lambda: STATE.chmod(0o700)),
        "somebody else's": (lambda: shutil.chown(STATE, "bob"), lambda: shutil.chown(STATE, "countersign")),
        "root's": (lambda: shutil.chown(STATE, "root"), lambda: shutil.chown(STATE, "countersign")),
        "a link": (lambda: STATE.rename("/var/lib/elsewhere").parent and STATE.symlink_to("/var/lib/elsewhere"), lambda: None),
    }
    for way, (spoil, back) in changes.items():
        spoil()
        stack.daemon.process.log_path.write_text("")
        stack.daemon.start(expect_ready=False)
        wait_until(lambda: not stack.daemon.process.alive(), PATIENCE, f"{way}: there is no daemon")
        assert f"{STATE}: " in said(stack.daemon), f"{way}: {said(stack.daemon)}"
        back()
    STATE.unlink()
    shutil.rmtree("/var/lib/elsewhere")
