"""sudo and su on a terminal, and pamtester for the bare PAM calls."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from lab import pam, paths
from lab.accounts import as_user_argv
from lab.terminal import ACKNOWLEDGE, CODE, PASSWORD as ASKS_PASSWORD, Terminal, on_terminal_of

PASSWORD = "alice-password"

pytestmark = pytest.mark.openssh


def test_sudo_runs_the_command_after_code(stack):
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    request = phone.next_request()
    assert request["service"] == "sudo"
    assert request["user"] == "alice"
    assert request["kind"] == "command"
    assert request["command"] == "sudo -k id -u"
    sudo.answer_code(phone.approve(request))
    assert sudo.finish() == 0
    assert sudo.lines()[-1] == "0"


def test_denied_sudo_runs_nothing(stack):
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORD)
    phone.decide(phone.next_request(), "deny")
    sudo.answer_code("")
    # sudo shows nothing but prompts, so the reason is one.
    sudo.expect(r"Denied on the phone\. " + ACKNOWLEDGE)
    sudo.send("")
    # It asks for the password again; a person gives up here.
    sudo.expect(r"[Pp]assword[^\r\n]*: ?$")
    sudo.interrupt()
    assert sudo.finish() != 0
    assert "ran" not in sudo.lines()


@pytest.mark.quiet
def test_ctrl_c_in_sudo_withdraws_the_prompt_within_a_second(stack):
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORD)
    request = phone.next_request()
    sudo.expect(CODE)
    pressed = time.monotonic()
    sudo.interrupt()
    closed = phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn"
    assert closed["seen"] - pressed < 1.0
    assert sudo.finish() != 0
    assert "ran" not in sudo.lines()


@pytest.mark.quiet
def test_ctrl_c_while_sudo_waits_for_a_tap(up):
    """Here the module itself waits, with sudo's SIGINT blocked."""
    stack = up(confirm="tap")
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORD)
    request = phone.next_request()
    pressed = time.monotonic()
    sudo.interrupt()
    closed = phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn"
    assert closed["seen"] - pressed < 1.0
    assert sudo.finish() != 0
    assert "ran" not in sudo.lines()


def test_sudo_with_a_tap(up):
    stack = up(confirm="tap")
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    phone.approve(phone.next_request())
    assert sudo.finish() == 0
    assert sudo.lines()[-1] == "0"


def test_sudo_without_a_terminal_to_ask_on(stack):
    """sudo -S reads the password from a pipe; the code cannot be asked for twice from it, so nothing opens by luck."""
    phone = stack.approver("alice")

    done = subprocess.run(
        as_user_argv("alice", "setsid", "sudo", "-k", "-S", "echo", "ran"),
        input=PASSWORD + "\n", capture_output=True, text=True, timeout=40,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ran" not in done.stdout
    for request in phone.requests():
        assert phone.wait_closed(request)["outcome"] != "approved"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, r"countersign: the approval service on this machine is not running; [^\r\n]*\(systemctl status countersignd\)\."),
        ("nonsense", r"countersign refuses: its configuration has a fault\. [^\r\n]*\(journalctl -u countersignd\)\."),
    ],
    ids=["no daemon", "a faulty configuration"],
)
def test_sudo_says_once_by_a_prompt_what_is_broken(stack, config, why):
    stack.daemon.stop()
    if config:
        stack.daemon.write_config(config)
        stack.daemon.start(expect_ready=False)
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORD)
    sudo.expect(why + " " + ACKNOWLEDGE)
    # What is typed there is nobody's answer.
    sudo.send("123456")
    # Of three times that sudo tries.
    sudo.answer_password(PASSWORD)
    sudo.expect(ASKS_PASSWORD)
    sudo.interrupt()
    assert sudo.finish() != 0
    assert sudo.text.count("Press Enter") == 1 and "ran" not in sudo.lines()


def test_without_a_terminal_sudo_asks_nobody_to_press_enter(stack):
    stack.daemon.stop()
    done = subprocess.run(
        as_user_argv("alice", "setsid", "--wait", "sudo", "-k", "-S", "echo", "ran"),
        input=f"{PASSWORD}\n", capture_output=True, text=True, timeout=40,
    )  # fmt: skip
    assert done.returncode != 0 and "ran" not in done.stdout
    assert "Press Enter" not in done.stdout + done.stderr, done


def test_with_targetpw_sudo_asks_the_account_that_it_becomes(stack):
    """As the note of `countersign enable sudo` and of the doctor says."""
    alice, bob = stack.approver("alice"), stack.approver("bob")
    sudoers = Path("/etc/sudoers.d/zz-targetpw")
    sudoers.write_text("Defaults targetpw\n")
    sudoers.chmod(0o440)
    try:
        said = json.loads(subprocess.run([paths.COMMAND, "doctor", "sudo", "--json"], capture_output=True, text=True).stdout)
        assert any("(Defaults targetpw)" in note and 'ask = "caller"' in note for note in said["notes"]), said["notes"]
        sudo = on_terminal_of("alice", "sudo", "-k", "-u", "bob", "id", "-un")
        sudo.answer_password("bob-password")
        sudo.answer_code(bob.approve(bob.next_request()))
        assert sudo.finish() == 0 and sudo.lines()[-1] == "bob"
        assert alice.requests() == []
    finally:
        sudoers.unlink()


def test_su_asks_the_account_that_is_entered(stack):
    alice, bob = stack.approver("alice"), stack.approver("bob")
    su = on_terminal_of("alice", "su", "bob", "-c", "id -un")
    su.answer_password("bob-password")
    request = bob.next_request()
    assert request["service"] == "su"
    assert request["user"] == "bob"
    assert request["requester"] == "alice"
    su.answer_code(bob.approve(request))
    assert su.finish() == 0
    assert su.lines()[-1] == "bob"
    assert alice.requests() == []


def test_denied_su(stack):
    bob = stack.approver("bob")
    su = on_terminal_of("alice", "su", "bob", "-c", "echo ran")
    su.answer_password("bob-password")
    bob.decide(bob.next_request(), "deny")
    su.answer_code("")
    assert su.finish() != 0
    assert "ran" not in su.lines()


def test_a_break_glass_account_is_let_in_without_being_asked(stack):
    su = on_terminal_of("alice", "su", "rescue", "-c", "id -un")
    su.answer_password("rescue-password")
    assert su.finish() == 0
    assert su.lines()[-1] == "rescue"


def pamtester(*words, **options):
    return on_terminal_of("alice", "pamtester", *words, **options)


def test_pamtester_as_root_authenticates_after_code(stack):

    phone = stack.approver("alice")
    run = Terminal(["pamtester", "lab", "alice", "authenticate", "setcred"])
    run.answer_password(PASSWORD)
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0
    assert "successfully authenticated" in run.text


def test_an_unprivileged_program_may_ask_about_its_own_user(stack):
    phone = stack.approver("alice")
    run = pamtester("lab", "alice", "authenticate")
    run.answer_password(PASSWORD)
    request = phone.next_request()
    # A claim by a caller that is not root: the device is told so.
    assert request["kind"] == "unlock"
    run.answer_code(phone.approve(request))
    assert run.finish() == 0


def test_an_unprivileged_program_may_not_ask_about_another_user(stack):
    bob = stack.approver("bob")
    # Without pam_unix, which would refuse by itself.

    pam.write("lab", f"auth required {paths.MODULE}\naccount required pam_permit.so\n")
    run = pamtester("lab", "bob", "authenticate")
    assert run.finish() != 0
    assert bob.requests() == []


def test_the_password_cannot_be_changed_through_us(stack):

    pam.write("lab", f"password required {paths.MODULE}\naccount required pam_permit.so\n")
    run = pamtester("lab", "alice", "chauthtok")
    assert run.finish() != 0


def test_setcred_and_account_alone_never_refuse_or_ask(stack):

    phone = stack.approver("alice")
    module = paths.MODULE
    pam.write(
        "lab",
        f"auth required pam_permit.so\nauth optional {module}\n"
        f"account required {module}\naccount required pam_permit.so\n",
    )
    run = Terminal(["pamtester", "lab", "alice", "setcred", "acct_mgmt"])
    assert run.finish() == 0, run.text
    assert phone.requests() == []


def test_an_unknown_module_argument_refuses_and_is_logged(stack, syslog):

    phone = stack.approver("alice")
    pam.write("lab", f"auth required {paths.MODULE} failmode=safe\n")
    mark = syslog.mark()
    run = Terminal(["pamtester", "lab", "alice", "authenticate"])
    assert run.finish() != 0
    syslog.wait_for("failmode", after=mark)
    assert phone.requests() == []
