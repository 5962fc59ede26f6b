"""sshd's own limits beside ours: MaxAuthTries, LoginGraceTime, UsePAM."""

import time

import pytest

pytestmark = pytest.mark.openssh


def test_max_auth_tries_ends_the_connection_before_the_codes_run_out(stack):
    sshd = stack.sshd(MaxAuthTries="2")
    phone = stack.approver("alice")
    login = stack.client(sshd).login("alice", "true", prompts=5)
    for _ in range(2):
        if login.expect(r"[Pp]assword[^\r\n]*: ?$", r"Too many|Permission denied|Disconnected") != 0:
            break
        login.send("wrong")
    assert login.finish() == 255
    assert phone.requests() == []


def test_a_second_try_of_the_same_connection_may_succeed(stack):
    sshd = stack.sshd(MaxAuthTries="3")
    phone = stack.approver("alice")
    login = stack.client(sshd).login("alice", "id", "-un", prompts=3)
    login.answer_password("wrong")
    login.answer_password("alice-password")
    login.answer_code(phone.approve(phone.next_request()))
    assert login.finish() == 0
    assert login.lines()[-1] == "alice"


def test_a_login_grace_time_shorter_than_the_wait_is_said_in_the_log(up, syslog):
    stack = up(wait="30s")
    sshd = stack.sshd(LoginGraceTime="3")
    phone = stack.approver("alice")
    mark = syslog.mark()
    login = stack.client(sshd).login("alice", "true")
    login.answer_password("alice-password")
    request = phone.next_request()
    started = time.monotonic()
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    assert time.monotonic() - started < 8
    # ssh itself only notices when something is typed.
    login.send("")
    assert login.finish() == 255
    syslog.wait_for("LoginGraceTime", after=mark)


def test_without_use_pam_nothing_is_a_gate(stack):
    """The documentation says so: sshd with `UsePAM no` never calls us, and the key alone opens."""
    sshd = stack.sshd(UsePAM="no", AuthenticationMethods="publickey", KbdInteractiveAuthentication="no")
    phone = stack.approver("alice")
    done = stack.client(sshd, "alice").batch("alice", "id", "-un")
    assert (done.returncode, done.stdout) == (0, "alice\n")
    assert phone.requests() == []
