"""Things that break while or before somebody logs in: nothing opens by breaking, and nobody waits for ever."""

import shutil
import signal
import time

import pytest
from lab import tls
from lab.daemon import CONFIG, RUN
from lab.process import wait_until
from lab.terminal import ACKNOWLEDGE, CODE, on_terminal_of

PASSWORD = "alice-password"
OFFLINE = {"offline": ["recovery"]}


def sudo(*command, timeout=15):
    run = on_terminal_of("alice", "sudo", "-k", *command, timeout=timeout)
    run.answer_password(PASSWORD)
    return run


def refused(run):
    """Waits for the refusal; sudo's new prompt for a password is a refusal too."""
    assert run.give_up() != 0
    assert "ran" not in run.lines()


def recovery_codes(stack, user="alice"):
    return stack.daemon.command("codes", user, "--recovery")["codes"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_restarts_while_a_login_waits(stack, how):
    phone = stack.approver("alice")
    sshd = stack.sshd()
    login = stack.client(sshd).login("alice", "id", "-un", timeout=30)
    login.answer_password(PASSWORD)
    request = phone.next_request()
    stack.server.process.stop(how)
    time.sleep(0.5)
    stack.server.start()
    login.answer_code(phone.approve(request), timeout=20)
    assert login.finish(timeout=30) == 0
    assert login.lines()[-1] == "alice"
    assert len(phone.requests()) == 1
    assert phone.wait_closed(request)["outcome"] == "approved"


def test_the_server_restarts_before_the_approver_comes_back(stack):
    """A forgetful server: the request is posted again, and the device that was away sees it."""
    phone = stack.approver("alice")
    phone.stop()
    sshd = stack.sshd()
    login = stack.client(sshd).login("alice", "id", "-un", timeout=30)
    login.answer_password(PASSWORD)
    login.expect(CODE)
    stack.server.kill()
    stack.server.start()
    phone.start()
    login.send(phone.approve(phone.next_request(seconds=20)))
    assert login.finish(timeout=20) == 0


def test_without_the_server_a_recovery_code_opens_once(up):
    stack = up(**OFFLINE)
    stack.approver("alice")
    codes = recovery_codes(stack)
    stack.server.stop()
    started = time.monotonic()
    run = sudo("echo", "ran")
    run.expect(r": ?$")
    assert time.monotonic() - started < 6, "the prompt does not wait for the server"
    run.send(codes[0])
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"
    assert stack.daemon.command("codes", "alice")["left"] == len(codes) - 1
    again = sudo("echo", "ran")
    again.expect(r": ?$")
    again.send(codes[0])
    for _ in range(3):
        if again.expect(r"[Pp]assword[^\r\n]*: ?$", r"sudo: [^\r\n]*\r\n", r"[Cc]ode[^\r\n]*: ?$") != 2:
            break
        again.send(codes[0])
    again.interrupt()
    assert again.finish() != 0
    assert "ran" not in again.lines()


def test_a_recovery_code_opens_while_the_server_is_there(stack):
    """The phone is dead, the network fine."""
    phone = stack.approver("alice")
    codes = recovery_codes(stack)
    run = sudo("echo", "ran")
    request = phone.next_request()
    # As a person may write it: upper case, no dashes.
    run.answer_code(codes[0].replace("-", "").upper())
    assert run.finish() == 0
    assert phone.wait_closed(request)["outcome"] == "otherwise"


def test_a_recovery_code_of_somebody_else_does_not_open(stack):
    phone = stack.approver("alice")
    stack.approver("bob")
    codes = recovery_codes(stack, "bob")
    run = sudo("echo", "ran")
    request = phone.next_request()
    for _ in range(3):
        run.answer_code(codes[0])
    refused(run)
    assert phone.wait_closed(request)["outcome"] != "otherwise"


def test_without_the_server_and_without_an_offline_factor_nothing_opens(up):
    stack = up(codes=[], offline=[])
    stack.approver("alice")
    stack.server.stop()
    started = time.monotonic()
    run = sudo("echo", "ran")
    run.expect(r"The approval server cannot be reached \([^\r\n]*\)\. Try again, or ask an administrator\. " + ACKNOWLEDGE)
    assert time.monotonic() - started < 10


def test_the_server_goes_while_a_login_waits_and_a_recovery_code_opens(up):
    stack = up(**OFFLINE)
    phone = stack.approver("alice")
    codes = recovery_codes(stack)
    run = sudo("echo", "ran")
    phone.next_request()
    stack.server.kill()
    run.answer_code(codes[1])
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"


@pytest.mark.openssh
def test_without_the_daemon_nothing_opens_and_nothing_hangs(stack, syslog):
    sshd = stack.sshd()
    stack.approver("alice")
    stack.daemon.stop()
    mark = syslog.mark()
    started = time.monotonic()
    login = stack.client(sshd).login("alice", "echo", "ran")
    login.answer_password(PASSWORD)
    assert login.finish() == 255
    assert time.monotonic() - started < 5
    assert syslog.lines("countersign", after=mark)


@pytest.mark.openssh
def test_without_the_daemon_a_key_alone_does_not_open(stack):
    sshd = stack.sshd(AuthenticationMethods="publickey")
    client = stack.client(sshd, "alice")
    stack.daemon.stop()
    done = client.batch("alice", "echo", "ran")
    assert done.returncode == 254
    assert "ran" not in done.stdout.splitlines()


def test_the_daemon_is_killed_while_a_login_waits(stack):
    phone = stack.approver("alice")
    run = sudo("echo", "ran")
    code = phone.approve(phone.next_request())
    run.expect(CODE)
    stack.daemon.kill()
    run.send(code)
    refused(run)


def test_after_a_restart_of_the_daemon_an_old_approval_opens_nothing(stack):
    phone = stack.approver("alice")
    run = sudo("echo", "ran")
    old = phone.next_request()
    run.expect(CODE)
    stack.daemon.kill()
    run.send("123456")
    refused(run)
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is connected again")
    again = sudo("echo", "ran")
    new = phone.next_request(after=1)
    phone.send(f"a {old['id']}")
    again.answer_code("123456")
    phone.decide(new, "deny")
    again.send("")
    refused(again)


def test_break_glass_needs_no_daemon(stack):
    stack.daemon.stop()
    run = on_terminal_of("alice", "su", "rescue", "-c", "id -un")
    run.answer_password("rescue-password")
    assert run.finish() == 0
    assert run.lines()[-1] == "rescue"


@pytest.mark.parametrize(
    "text", ["server = \n", "[default]\nthen = \"skip\"\n", "server = \"http://127.0.0.1:1\"\n[default]\nthen = \"maybe\"\n"]
)  # fmt: skip
def test_a_daemon_that_starts_with_a_broken_configuration_refuses(stack, text, syslog):
    stack.approver("alice")
    stack.daemon.stop()
    stack.daemon.write_config(text)
    mark = syslog.mark()
    stack.daemon.start(expect_ready=False)
    run = sudo("echo", "ran")
    refused(run)
    said = "\n".join(syslog.lines(after=mark)) + stack.daemon.process.log()
    assert f"{CONFIG}" in said, "the file and the place are named"


def test_a_configuration_that_others_may_write_is_refused(stack):
    stack.approver("alice")
    stack.daemon.stop()
    CONFIG.chmod(0o666)
    stack.daemon.start(expect_ready=False)
    refused(sudo("echo", "ran"))


def test_a_running_daemon_keeps_its_good_policy(stack):
    phone = stack.approver("alice")
    stack.daemon.write_config("nonsense")
    stack.daemon.reload()
    wait_until(lambda: stack.daemon.status()["config_faults"], 5, "the fault is reported")
    run = sudo("echo", "ran")
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0


def test_a_reload_takes_the_new_policy(stack):
    phone = stack.approver("alice")
    stack.daemon.configure(confirm="tap")
    stack.daemon.reload()
    time.sleep(0.5)
    run = sudo("echo", "ran")
    assert phone.next_request()["confirm"] == "tap"
    phone.approve(phone.requests()[0])
    assert run.finish() == 0


def test_a_socket_directory_that_is_not_roots_is_refused(stack, syslog):
    """Somebody else could put a friendlier daemon there."""
    phone = stack.approver("alice")
    shutil.chown(RUN, "bob", "bob")
    refused(sudo("echo", "ran"))
    assert phone.requests() == []


def test_over_tls_with_a_ca_of_our_own(up, tmp_path):
    stack = up(tls=tls.make(tmp_path / "tls"))
    phone = stack.approver("alice")
    run = sudo("echo", "ran")
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0


def test_a_server_with_a_certificate_of_another_ca_gets_nothing(up, tmp_path):
    stack = up(tls=tls.make(tmp_path / "tls"), **OFFLINE)
    phone = stack.approver("alice")
    stack.server.stop()
    other = tls.make(tmp_path / "other")
    stack.server.tls = ["--tls-cert", other[0], "--tls-key", other[1]]
    stack.server.start()
    wait_until(lambda: not stack.daemon.status()["connected"], 15, "the daemon refuses that server")
    run = sudo("echo", "ran")
    run.expect(r": ?$")
    assert phone.requests() == []
    run.kill()
