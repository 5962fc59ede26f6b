"""Rules on real services: which one decides, and that the daemon and `countersign policy` say the same."""

import grp
import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from lab import paths
from lab.accounts import PASSWORDS
from lab.process import wait_until
from lab.terminal import CODE, on_terminal_of

HEAD = 'server = "{origin}"\nhost_name = "lab"\n'
DEFAULT = '\n[default]\nwait = "20s"\n'


def rule(name, when, then, more=""):
    return f'[[rule]]\nname = "{name}"\nwhen = {{ {when} }}\nthen = "{then}"\n{more}\n'


def take(stack, *rules, default=DEFAULT):
    """Puts a policy in force."""
    daemon = stack.daemon
    before = len(daemon.process.log())
    daemon.write_config(HEAD.format(origin=daemon.origin) + "".join(rules) + default)
    daemon.reload()
    wait_until(lambda: "read again" in daemon.process.log()[before:], 5, "the policy is in force")


def last(stack, **fields):
    """The last record of a login with these fields."""
    records = [record for record in stack.daemon.audit() if record["event"] in ("login", "observed")]
    found = [record for record in records if all(record.get(name) == value for name, value in fields.items())]
    return found[-1]


def command(stack, *words):
    """`countersign policy WORDS` on the policy in force."""
    argv = [paths.COMMAND, "--json", "policy", *words, "--config", stack.daemon.config]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=10)
    return done.returncode, json.loads(done.stdout)


def sudo(user="alice", *words):
    run = on_terminal_of(user, "sudo", "-k", *(words or ("echo", "ran")))
    run.answer_password(PASSWORDS[user])
    return run


def test_the_first_rule_that_fits_decides_and_explain_says_so(stack):
    phone = stack.approver("alice")
    take(
        stack,
        rule("bob never", 'service = "sudo", user = "bob"', "deny"),
        rule("lists", 'service = "sudo", command = "sudo -k ls*"', "approve", 'confirm = "tap"'),
        rule("all sudo", 'service = "sudo"', "approve"),
    )
    run = sudo("bob")
    run.expect(r"[Pp]assword[^\r\n]*: ?$")
    run.interrupt()
    assert last(stack, user="bob")["rule"] == "bob never"
    run = sudo("alice", "ls", "/")
    phone.decide(phone.next_request(), "approve")
    assert run.finish() == 0
    assert last(stack, user="alice")["rule"] == "lists"
    run = sudo("alice")
    run.answer_code(phone.approve(phone.next_request(after=1)))
    assert run.finish() == 0
    assert last(stack, user="alice")["rule"] == "all sudo"

    code, said = command(stack, "explain", "--user", "alice", "--service", "sudo", "--command", "sudo -k echo ran")
    assert (code, said["rule"]) == (0, "all sudo")
    assert [(over["rule"], over["condition"]) for over in said["passed_over"]] == [("bob never", "user"), ("lists", "command")]


def test_a_key_is_known_at_the_session_stage_and_never_under_the_password_method(stack):
    phone = stack.approver("alice")
    sshd = stack.sshd(PasswordAuthentication="yes")
    client = stack.client(sshd, "alice")
    take(
        stack,
        rule("this key", f'service = "sshd", ssh_key = "{client.fingerprint()}"', "skip"),
        rule("hardware", 'service = "sshd", ssh_key_type = "sk-*"', "skip"),
    )
    done = client.batch("alice", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert last(stack)["rule"] == "this key" and last(stack)["outcome"] == "ignored"
    login = client.login("alice", "echo", "ran", method="password")
    login.answer_password(PASSWORDS["alice"])
    phone.decide(phone.next_request(after=1), "approve")
    assert login.finish() == 0
    assert last(stack, stage="auth")["rule"] == "default"


def test_groups_are_compared_by_their_number(stack):
    """A second name of the same group is the same group."""
    phone = stack.approver("alice")
    subprocess.run(["groupadd", "ops"], check=True)
    subprocess.run(["groupadd", "--non-unique", "--gid", str(grp.getgrnam("ops").gr_gid), "operators"], check=True)
    subprocess.run(["usermod", "-aG", "ops", "alice"], check=True)
    try:
        take(stack, rule("operators", 'group = ["operators", "!root"]', "approve", 'confirm = "tap"'))
        run = sudo("alice")
        phone.decide(phone.next_request(), "approve")
        assert run.finish() == 0
        assert last(stack)["rule"] == "operators"
    finally:
        subprocess.run(["gpasswd", "-d", "alice", "ops"], check=True, capture_output=True)
        subprocess.run(["groupdel", "operators"], check=True)
        subprocess.run(["groupdel", "ops"], check=True)


def test_an_address_is_compared_as_the_kernel_says_it(stack):
    stack.approver("alice")
    client = stack.client(stack.sshd(), "alice")
    take(stack, rule("here", 'service = "sshd", network = "127.0.0.0/8", remote = true', "skip"), rule("rest", "", "deny"))
    assert client.batch("alice", "true").returncode == 0
    assert last(stack)["rule"] == "here"
    run = sudo("alice")
    run.expect(r"[Pp]assword[^\r\n]*: ?$")
    run.interrupt()
    assert last(stack)["rule"] == "rest"


def test_a_place_is_new_until_somebody_was_let_in_from_there(stack):
    phone = stack.approver("alice")
    client = stack.client(stack.sshd(), "alice")
    take(stack, rule("known place", 'service = "sshd", new_source = false', "approve", 'without_prompt = "tap"'))
    for number, decided_by in enumerate(["default", "known place", "known place"]):
        run = client.start("alice", "true")
        phone.decide(phone.next_request(after=number), "approve")
        assert run.wait(10) == 0
        assert last(stack)["rule"] == decided_by


def test_observing_lets_everybody_pass_and_the_log_says_who_would_not_have(stack):
    phone = stack.approver("alice")
    client = stack.client(stack.sshd(), "alice")
    take(stack, default='\n[default]\nthen = "observe"\nwait = "5s"\n')
    run = client.start("alice", "true")
    phone.decide(phone.next_request(), "deny")
    assert run.wait(10) == 0, "PAM goes on"
    run = sudo("bob")
    # As anybody: the prompt, the wait, and then sudo goes on.
    run.answer_code("")
    run.expect(r"Press Enter to ring the phone again: ?$", timeout=15)
    run.send("")
    run.answer_code("")
    assert run.finish(timeout=15) == 0
    assert run.lines()[-1] == "ran"
    argv = [paths.COMMAND, "--json", "audit", "observed", "--file", stack.daemon.state / "audit" / "audit.jsonl"]
    seen = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    assert seen["logins"] == 2
    assert seen["without_device"] == ["bob"]
    assert {(row["user"], row["refused"], row["let_in"]) for row in seen["rows"]} == {("alice", 1, 0), ("bob", 1, 0)}


def test_rules_in_a_folder_come_first_and_faults_of_any_file_keep_the_old_policy(stack):
    phone = stack.approver("alice")
    daemon = stack.daemon
    folder = daemon.config.parent / f"{daemon.config.name}.d"
    folder.mkdir(mode=0o755)
    (folder / "10-sudo.toml").write_text(rule("from the folder", 'service = "sudo"', "approve", 'confirm = "tap"'))
    take(stack, rule("from the file", 'service = "sudo"', "deny"))
    run = sudo("alice")
    phone.decide(phone.next_request(), "approve")
    assert run.finish() == 0
    assert last(stack)["rule"] == "from the folder"

    before = len(daemon.process.log())
    (folder / "20-wrong.toml").write_text('[[rule]]\nname = "x"\nwen = { user = "alice" }\nthen = "skip"\n')
    daemon.reload()
    wait_until(lambda: daemon.status()["config_faults"], 5, "the fault is told")
    said = daemon.process.log()[before:]
    assert f"{folder}/20-wrong.toml:3:1" in said and "^" in said, said
    run = sudo("alice")
    phone.decide(phone.next_request(after=1), "approve")
    assert run.finish() == 0
    assert last(stack)["rule"] == "from the folder"
    code, faults = command(stack, "check")
    assert code == 5 and "20-wrong.toml:3:1" in faults["faults"][0]

    # A file that somebody else could write is as good as a fault.
    (folder / "20-wrong.toml").unlink()
    (folder / "10-sudo.toml").chmod(0o666)
    daemon.reload()
    wait_until(lambda: "10-sudo.toml" in "".join(daemon.status()["config_faults"]), 5, "the open file is told")


def test_check_finds_what_nobody_means(stack):
    take(
        stack,
        rule("all", 'service = "sudo"', "approve"),
        rule("hidden", 'service = "sudo", user = "bob"', "deny"),
        rule("open", 'command = "*"', "skip"),
        rule("nobody asks", 'service = "ftp"', "deny"),
    )
    code, said = command(stack, "check")
    assert code == 1
    assert [(one["rule"], one["kind"]) for one in said["advice"]] == [
        ("hidden", "never"),
        ("open", "opens"),
        ("nobody asks", "unreached"),
    ]


@pytest.mark.parametrize("zone, decided_by", [("Etc/GMT+12", "night"), ("UTC", "default")])
def test_hours_are_those_of_the_zone_that_is_named(stack, zone, decided_by):
    """Some hours around now as they are counted half a world away, in that zone and in another."""
    stack.approver("alice")
    there = datetime.now(timezone.utc) - timedelta(hours=12)
    span = f"{there - timedelta(hours=2):%H:%M}-{there + timedelta(hours=2):%H:%M} {zone}"
    take(stack, rule("night", f'service = "sudo", hours = "{span}"', "deny"))
    run = sudo("alice")
    seen = run.expect(CODE, r"[Pp]assword[^\r\n]*: ?$")
    run.interrupt()
    run.finish()
    wait_until(lambda: last(stack)["rule"] == decided_by, 5, f"{decided_by} decides")
    assert seen == (1 if decided_by == "night" else 0)
