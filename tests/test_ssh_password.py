"""ssh where sshd offers only its `password` method, as Debian ships it: nothing can be prompted there."""

import pytest

pytestmark = pytest.mark.openssh

OPTIONS = {"KbdInteractiveAuthentication": "no", "PasswordAuthentication": "yes"}


def tap(phone):
    """The request for a tap: sshd's conversation fails only after a code was asked for."""
    return phone.wait_for("request", confirm="tap")


def test_a_tap_opens(stack):
    sshd, phone = stack.sshd(**OPTIONS), stack.approver("alice")
    login = stack.client(sshd).login("alice", "id", "-un", method="password")
    login.answer_password("alice-password")
    request = tap(phone)
    phone.approve(request)
    assert login.finish() == 0
    assert login.lines()[-1] == "alice"
    # The grant of the auth stage counts in the session stage, and no code is left open.
    open_ones = [one for one in phone.requests() if not phone.all("closed", id=one["id"])]
    assert open_ones in ([], [request])


def test_a_denial_refuses(stack):
    sshd, phone = stack.sshd(**OPTIONS), stack.approver("alice")
    login = stack.client(sshd).login("alice", "true", method="password")
    login.answer_password("alice-password")
    phone.decide(tap(phone), "deny")
    assert login.finish() == 255


def test_a_wrong_password_never_rings(stack):
    sshd, phone = stack.sshd(**OPTIONS), stack.approver("alice")
    login = stack.client(sshd).login("alice", "true", method="password")
    login.answer_password("wrong")
    assert login.finish() == 255
    assert phone.requests() == []


def test_refused_where_the_policy_wants_no_tap(up, syslog):
    stack = up(without_prompt="refuse")
    sshd, phone = stack.sshd(**OPTIONS), stack.approver("alice")
    mark = syslog.mark()
    login = stack.client(sshd).login("alice", "true", method="password")
    login.answer_password("alice-password")
    assert login.finish() == 255
    # Whoever reads the log learns what to change.
    syslog.wait_for("KbdInteractiveAuthentication yes", after=mark)
    assert all(request["confirm"] == "code" for request in phone.requests())
