"""Modules of the same stack that change PAM_USER: a verdict is about the user it was asked for, and about nobody else."""

import time

import pytest
from lab import pam, paths, tools
from lab.terminal import CODE, Terminal


@pytest.fixture
def phones(stack):
    return stack, stack.approver("alice"), stack.approver("bob")


def lab_service(*auth, name="lab"):
    """A service in which Countersign alone decides, with other lines around it."""
    ours = f"auth required {paths.MODULE}\n"
    lines = [ours if line == "countersign" else f"auth required {tools.build('pam_change.c')} {line}\n" for line in auth]
    session = f"session required {paths.MODULE}\n" if name == "sshd" else ""
    pam.write(name, "".join(lines) + "account required pam_permit.so\n" + session)


def authenticate(*words, service="lab"):
    return Terminal(["pamtester", service, "alice", *(words or ["authenticate"])], timeout=15)


def test_a_name_that_was_mapped_before_is_the_one_that_is_asked(phones):
    _, alice, bob = phones
    lab_service("now=bob", "countersign")
    run = authenticate()
    run.answer_code(bob.approve(bob.next_request()))
    assert run.finish() == 0
    assert bob.requests()[0]["user"] == "bob" and alice.requests() == []


def test_a_name_that_changes_at_the_prompt_is_refused(phones, syslog):
    stack, alice, bob = phones
    codes = stack.daemon.command("codes", "alice", "--recovery")["codes"]
    lab_service("prompt=bob", "countersign")
    for number, answer in enumerate(("the code", "a recovery code", "both")):
        mark = syslog.mark()
        run = authenticate()
        request = alice.next_request(after=number)
        code = alice.approve(request) if answer != "a recovery code" else None
        run.expect(CODE)
        run.send(codes.pop() if answer == "a recovery code" else code if answer == "the code" else "000000")
        if answer == "both":
            run.answer_code(code)
        assert run.finish() != 0, answer
        assert "the user name changed while waiting" in run.text
        syslog.wait_for("PAM_USER changed", after=mark)
    assert bob.requests() == []


def test_a_name_that_changes_while_the_phone_is_waited_for_is_refused(up, syslog):
    stack = up(confirm="tap")
    alice, bob = stack.approver("alice"), stack.approver("bob")
    lab_service("after=200:bob", "countersign")
    mark = syslog.mark()
    run = authenticate()
    request = alice.next_request()
    time.sleep(0.4)
    alice.approve(request)
    assert run.finish() != 0
    syslog.wait_for("PAM_USER changed", after=mark)
    assert bob.requests() == []


def test_a_grant_does_not_open_a_session_of_another_name(phones):
    """What comes after our line in `auth` is not ours to see; but sshd's session stage looks again."""
    _, alice, bob = phones
    lab_service("countersign", name="sshd")
    run = authenticate("authenticate", "open_session", service="sshd")
    run.answer_code(alice.approve(alice.next_request()))
    assert run.finish() == 0, "for the same name the one approval is enough"
    assert len(alice.requests()) == 1

    lab_service("countersign", "now=bob", name="sshd")
    run = authenticate("authenticate", "open_session", service="sshd")
    run.answer_code(alice.approve(alice.next_request(after=1)))
    request = bob.next_request()
    assert request["confirm"] == "tap" and request["user"] == "bob"
    bob.decide(request, "deny")
    assert run.finish() != 0
    assert "successfully authenticated" in run.text and "session has successfully been opened" not in run.text
