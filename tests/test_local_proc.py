"""What the calling process is, was or becomes: uids, command lines, and an exec in the middle of a login."""

import os
import re
import subprocess
import time

import pytest
from lab import pam, paths, tools
from lab.accounts import as_user_argv
from lab.terminal import on_terminal_of

AUTH_ERR = 7


@pytest.fixture
def phones(up):
    stack = up(confirm="tap")
    pam.write("lab", f"auth required {paths.MODULE}\n")
    return stack, stack.approver("alice"), stack.approver("bob")


def run_as(user, *argv):
    done = subprocess.run(as_user_argv(user, *argv), capture_output=True, text=True, timeout=20)
    return done.stdout.splitlines()


def test_a_program_asks_about_the_user_whose_rights_it_has_and_nobody_else(phones):
    """Set-uid bob, started by alice: it acts for bob, so it may ask about him, and not about her."""
    _, alice, bob = phones
    of_bob = tools.set_uid("caller.c", "bob")
    lines = run_as("alice", of_bob, "lab", "alice")
    assert lines[0].split()[1] != lines[0].split()[2], "its real and its effective uid differ"
    assert f"result auth {AUTH_ERR}" in lines
    assert alice.requests() == bob.requests() == []
    run = on_terminal_of("alice", of_bob, "lab", "bob")
    request = bob.next_request()
    assert request["kind"] == "unlock", "the word of one of bob's programs"
    bob.approve(request)
    run.finish()
    assert "result auth 0" in run.lines()


def test_root_that_has_stepped_down_is_the_user_it_stepped_down_to(phones):
    _, alice, bob = phones
    of_root, uid = tools.set_uid("caller.c", "root"), os.stat("/run/lab/home/alice").st_uid
    assert f"result auth {AUTH_ERR}" in run_as("alice", of_root, "lab", "bob", f"become={uid}")
    assert alice.requests() == bob.requests() == []
    run = on_terminal_of("alice", of_root, "lab", "alice", f"become={uid}")
    alice.decide(alice.next_request(), "deny")
    run.finish()
    assert f"result auth {AUTH_ERR}" in run.lines()


def test_an_exec_in_the_middle_of_a_login_withdraws_it(up):
    """The program that replaces the caller does not hold its connection: nobody is left whom a grant could reach."""
    stack = up(confirm="code")
    phone = stack.approver("alice")
    pam.write("lab", f"auth required {paths.MODULE}\n")
    run = on_terminal_of("alice", tools.set_uid("caller.c", "root"), "lab", "alice", "exec-at-prompt")
    request = phone.next_request()
    started = time.monotonic()
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    assert time.monotonic() - started < 2
    assert run.child.isalive(), "sleep has taken its place"
    run.kill()


def test_a_false_command_line_changes_no_fact_about_the_login(stack):
    """The first word of a command line is the caller's to choose, and so is its environment."""
    alice, bob = stack.approver("alice"), stack.approver("bob")
    su = on_terminal_of(
        "alice", "env", "LOGNAME=root", "USER=root", "SUDO_USER=root", "SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22",
        "COUNTERSIGN_GRANT=" + "x" * 43, "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA", "PAM_USER=alice",
        "bash", "-c", "exec -a 'sudo apt update' su bob -c 'id -un'",
    )  # fmt: skip
    su.answer_password("bob-password")
    request = bob.next_request()
    known = {name: request.get(name) for name in ("user", "requester", "service", "kind", "remote", "ssh_key")}
    assert known == {"user": "bob", "requester": "alice", "service": "su", "kind": "command", "remote": None, "ssh_key": None}
    assert request["command"] == "sudo apt update bob -c id -un", "shown as what it is: what the caller wrote"
    su.answer_code(bob.approve(request))
    assert su.finish() == 0 and su.lines()[-1] == "bob"
    assert alice.requests() == []


def test_nothing_is_decided_on_what_proc_says_of_other_processes():
    """Pids are reused and command lines rewritten; so the daemon does not look, and the module at itself alone. Of its session's
    leader it takes the time of its start, which the kernel writes, so that a number that is used again is another session."""

    def mentions(crate):
        for file in sorted((paths.REPOSITORY / crate / "src").rglob("*.rs")):
            if file.name == "tests.rs" or "tests" in file.parent.parts:
                continue
            code = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
            for found in re.findall(r'^[^/\n]*"(/proc/[^"]*)"', code, re.MULTILINE):
                yield file.name, found

    # Which boot it is, is about no process.
    assert set(mentions("daemon")) == {("mod.rs", "/proc/sys/kernel/random/boot_id")}
    assert set(mentions("pam_module")) == {
        ("facts.rs", "/proc/self/cmdline"), ("facts.rs", "/proc/{process}/stat"), ("peer.rs", "/proc/self/fd"),
    }  # fmt: skip
