"""`countersign ask`: scripts, jobs and hooks that wait for a phone."""

import hashlib
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from lab import paths
from lab.accounts import as_user_argv
from lab.process import wait_until
from lab.terminal import CODE, Terminal, on_terminal_of

DEPLOY = ("--action", "deploy.web", "--detail", "release 42")
GUIDE = paths.REPOSITORY / "docs" / "admin-guide.md"
SECTION = "Before a script goes on: countersign ask"


def ask(*words):
    return [str(paths.COMMAND), "ask", *words]


def job(*words, stdin=subprocess.DEVNULL, **options):
    """As cron starts it: in a session of its own, without a terminal."""
    return subprocess.Popen(
        ask(*words), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
    )  # fmt: skip


def ended(running, timeout=15):
    """Exit status, standard output and standard error."""
    out, err = running.communicate(timeout=timeout)
    return running.returncode, out, err


def behind(user, *argv):
    """A command of root's behind which that user is logged in, by the kernel's word where it takes ours, else by sudo's."""
    uid = pwd.getpwnam(user).pw_uid
    script = f'{{ echo {uid} >/proc/self/loginuid; }} 2>/dev/null; SUDO_UID={uid} exec "$@"'
    return ["sh", "-c", script, "sh", *argv]


def record(stack):
    """What the audit holds of the last one."""
    return [record for record in stack.daemon.audit() if record["event"] == "ask"][-1]


def test_the_command_runs_once_the_code_was_typed_and_its_status_is_the_end(stack):
    phone = stack.approver("alice")
    run = Terminal(ask(*DEPLOY, "--user", "alice", "--", "sh", "-c", 'echo "ran $1"; exit 7', "sh", "it"))
    request = phone.next_request()
    assert (request["kind"], request["service"], request["user"]) == ("action", "ask", "alice")
    assert (request["action"], request["detail"]) == ("deploy.web", "release 42")
    assert request["command"] == "sh -c 'echo \"ran $1\"; exit 7' sh it"
    assert request["confirm"] == "code" and "lease_max" not in request
    run.expect(CODE)
    assert "ran" not in run.text
    run.send(phone.approve(request))
    assert run.finish() == 7
    assert run.lines()[-1] == "ran it"
    told = record(stack)
    assert (told["outcome"], told["action"], told["detail"]) == ("granted", "deploy.web", "release 42")
    assert phone.wait_closed(request)["outcome"] == "approved"
    assert stack.daemon.command("audit", "verify")["valid"]


def test_without_a_terminal_a_tap_is_enough_and_output_is_the_commands_own(stack):
    phone = stack.approver("alice")
    run = job(*DEPLOY, "--user", "alice", "--", "cat", stdin=subprocess.PIPE)
    request = phone.next_request()
    assert request["confirm"] == "tap" and "terminal" not in request
    phone.approve(request)
    out, err = run.communicate("what was piped in", timeout=15)
    assert (run.returncode, out) == (0, "what was piped in"), err
    run = job(*DEPLOY, "--user", "alice", "--json")
    phone.approve(phone.next_request(1))
    status, out, _ = ended(run)
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [event["event"] for event in events][-1] == "verdict" and events[-1]["outcome"] == "granted"
    run = job(*DEPLOY, "--user", "alice", "--", "/no/such/program")
    phone.approve(phone.next_request(2))
    assert ended(run)[0] == 127


def test_a_denial_and_time_that_is_over_run_nothing(up):
    stack = up(wait="5s", confirm="tap")
    phone = stack.approver("alice")
    run = job(*DEPLOY, "--user", "alice", "--", "echo", "ran")
    request = phone.next_request()
    status, out, err = ended(run)
    assert (status, out) == (1, "") and "in time" in err
    assert phone.wait_closed(request)["outcome"] == "expired"
    run = job(*DEPLOY, "--user", "alice", "--", "echo", "ran")
    phone.decide(phone.next_request(1), "deny")
    status, out, err = ended(run)
    assert (status, out) == (1, "") and "Denied on the phone." in err
    assert record(stack)["outcome"] == "denied"


def test_a_quiet_job_says_only_what_goes_wrong(up):
    phone = up(confirm="tap").approver("alice")
    for answer, end in (("approve", (0, "ran\n", "")), ("deny", (1, "", "countersign: Denied on the phone.\n"))):
        run = job(*DEPLOY, "--user", "alice", "--quiet", "--", "echo", "ran")
        phone.decide(phone.next_request(len(phone.requests())), answer)
        assert ended(run) == end


def test_the_command_takes_the_place_of_ask_and_is_told_as_a_shell_reads_it(up):
    phone = up(confirm="tap").approver("alice")
    told = {"PATH": "/usr/bin:/bin", "RELEASE": "4 2"}
    run = job(*DEPLOY, "--user", "alice", "--", "sh", "-c", "echo $$; env -u PWD", env=told)
    request = phone.next_request()
    assert request["command"] == "sh -c 'echo $$; env -u PWD'"
    phone.approve(request)
    status, out, _ = ended(run)
    number, *environment = out.splitlines()
    assert (status, int(number)) == (0, run.pid), "signals reach it"
    assert sorted(line for line in environment if not line.startswith(("_=", "OLDPWD="))) == ["PATH=/usr/bin:/bin", "RELEASE=4 2"]
    run = job(*DEPLOY, "--user", "alice", "--", "true", "it's", "", b"\xff", "x" * 2000)
    asked = phone.next_request(1)
    assert asked["command"].startswith(r"true 'it'\''s' '' $'\xff' xxx") and asked["command"].endswith("…")
    assert len(asked["command"].encode()) <= 1024
    phone.approve(asked)
    assert ended(run)[0] == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_job_withdraws_its_request(up, how):
    phone = up(confirm="tap").approver("alice")
    run = job(*DEPLOY, "--user", "alice", "--", "echo", "ran")
    request = phone.next_request()
    run.send_signal(how)
    assert ended(run)[:2] == (-how, "")
    assert phone.wait_closed(request)["outcome"] == "withdrawn"


def test_what_is_wrong_is_said_before_anybody_is_asked(stack, tmp_path):
    phone = stack.approver("alice")
    for words, status, said in [
        (("--user", "alice", "--file", str(tmp_path / "no\x1b[1m")), 5, r"no\u{1b}[1m: No such file"),
        (("--user", "alice", "--file", str(tmp_path)), 5, "Is a directory"),
        (("--user", "alice", "--file", "-"), 2, "the list is empty"),
        (("--user", ""), 2, "--user is empty"),
        (("--user", "alice", "make", "install"), 2, "unexpected argument 'make'"),
        (("--user", "nobody-here"), 1, "no device for nobody-here"),
    ]:
        run = job(*DEPLOY, *words)
        ended_as, out, err = ended(run)
        assert (ended_as, out) == (status, "") and said in err, (words, err)
    assert phone.requests() == []
    # A pipe of the shell's is as good as a file.
    run = subprocess.Popen(
        ["bash", "-c", '"$@" --file <(echo one; echo two)', "bash", *ask(*DEPLOY, "--user", "alice")], stdin=subprocess.DEVNULL, start_new_session=True
    )
    request = phone.next_request()
    assert phone.wait_for("list", id=request["id"])["text"] == "one\ntwo\n"
    phone.approve(request)
    assert run.wait(15) == 0


@pytest.mark.quiet
def test_a_terminal_hears_of_a_denial_at_once_and_of_time_that_is_over_in_the_audit(up):
    stack = up(wait="5s")
    phone = stack.approver("alice")
    run = Terminal(ask(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    request = phone.next_request()
    run.expect(CODE)
    phone.wait_closed(request)
    # Nobody stays to type anything, and that is no withdrawal.
    run.interrupt()
    run.finish()
    wait_until(lambda: record(stack)["outcome"] == "expired", 5, "the end stands in the audit")
    run = Terminal(ask(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    request = phone.next_request(1)
    run.expect(CODE)
    phone.decide(request, "deny")
    # No key was pressed.
    run.expect(r"Denied on the phone\.")
    assert run.finish() == 1
    assert "ran" not in run.lines()


@pytest.mark.quiet
def test_ctrl_c_withdraws_it_within_a_second(stack):
    phone = stack.approver("alice")
    run = Terminal(ask(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    request = phone.next_request()
    run.expect(CODE)
    pressed = time.monotonic()
    run.interrupt()
    closed = phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn" and closed["seen"] - pressed < 1.0
    # As a shell tells it of a program that a signal has ended.
    assert run.finish() == 130
    assert "ran" not in run.lines()


def test_while_the_server_is_away_a_code_opens_and_a_job_is_told(stack):
    stack.approver("alice")
    code = stack.daemon.command("codes", "alice", "--recovery")["codes"][0]
    stack.server.stop()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon sees that its server is gone")
    run = Terminal(ask(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    run.expect(r"The approval server cannot be reached\. Recovery code, or Enter to try again: ?$")
    run.send(code)
    assert run.finish() == 0 and run.lines()[-1] == "ran"
    assert record(stack)["factor"] == "recovery"
    status, out, err = ended(job(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    assert (status, out) == (3, "") and "cannot be reached" in err
    stack.daemon.stop()
    status, out, err = ended(job(*DEPLOY, "--user", "alice", "--", "echo", "ran"))
    assert (status, out) == (3, "") and "not running" in err


def test_whoever_is_not_root_asks_about_themselves(stack):
    phone = stack.approver("alice")
    run = on_terminal_of("alice", *ask(*DEPLOY, "--", "id", "-un"))
    request = phone.next_request()
    assert (request["user"], request["kind"], "requester" in request) == ("alice", "action", False)
    run.answer_code(phone.approve(request))
    assert run.finish() == 0 and run.lines()[-1] == "alice"
    assert "asked by user" in record(stack)["reason"]
    for other in ("bob", "root"):
        done = subprocess.run(
            as_user_argv("alice", *ask(*DEPLOY, "--user", other)), capture_output=True, text=True, timeout=10
        )
        assert done.returncode == 4 and "only root asks" in done.stderr
    assert len(phone.requests()) == 1


def test_for_root_the_phone_rings_of_who_is_logged_in_behind_it(stack):
    alice, bob = stack.approver("alice"), stack.approver("bob")
    run = subprocess.Popen(behind("alice", *ask(*DEPLOY)), stdin=subprocess.DEVNULL, start_new_session=True)
    request = alice.next_request()
    assert (request["user"], request["requester"]) == ("root", "alice")
    alice.approve(request)
    assert run.wait(15) == 0
    run = subprocess.Popen(behind("alice", *ask(*DEPLOY, "--user", "bob")), stdin=subprocess.DEVNULL, start_new_session=True)
    request = bob.next_request()
    assert (request["user"], request["requester"]) == ("bob", "alice")
    bob.approve(request)
    assert run.wait(15) == 0
    assert len(alice.requests()) == 1
    status, _, err = ended(job(*DEPLOY, "--user", "demo", "--", "echo", "ran"), timeout=5)
    assert status == 1 and "no device for demo" in err


def test_rules_decide_by_action_and_by_where_all_of_it_comes_from(stack):
    phone = stack.approver("alice")
    rules = """
[[rule]]
name = "never"
when = { action = "format.*" }
then = "deny"

[[rule]]
name = "from Debian"
when = { action = ["apt.*", "!apt.remove"], origin = "Debian*" }
then = "skip"

"""
    daemon = stack.daemon
    head, default, tail = daemon.config.read_text().partition("[default]")
    daemon.write_config(head + rules + default + tail)
    said = len(daemon.process.log())
    daemon.reload()
    wait_until(lambda: "read again" in daemon.process.log()[said:], 5, "the policy is in force")

    debian = ("--origin", "Debian", "--origin", "Debian-Security")
    for action, origins, rule, status in [
        ("format.disk", (), "never", 1),
        ("apt.upgrade", debian, "from Debian", 0),
        ("apt.remove", debian, "default", None),
        ("apt.upgrade", (*debian, "--origin", "elsewhere"), "default", None),
        ("apt.upgrade", (), "default", None),
    ]:
        explained = daemon.command(
            "policy", "explain", "--user", "alice", "--service", "ask", "--action", action, *origins, "--config", daemon.config
        )
        assert explained["rule"] == rule, (action, origins)
        run = job("--action", action, *origins, "--user", "alice")
        if status is None:
            asked = phone.next_request(len(phone.requests()))
            assert asked["action"] == action
            run.terminate()
            run.communicate(timeout=15)
            phone.wait_closed(asked)
        else:
            assert ended(run)[0] == status
            told = record(stack)
            assert (told["rule"], told["action"]) == (rule, action)
            assert told.get("origins", []) == [word for word in origins if word != "--origin"]


def test_a_list_is_named_in_what_is_signed_and_in_the_audit(stack, tmp_path):
    phone = stack.approver("alice")
    text = "".join(f"install package-{n} amd64 1.{n} \u00e4\t\"\\\n" for n in range(2000)) + "the last one"
    assert len(text.encode()) > 3 * 16384
    run = job(*DEPLOY, "--user", "alice", "--file", "-", stdin=subprocess.PIPE)
    run.stdin.write(text)
    run.stdin.close()
    run.stdin = None
    request = phone.next_request()
    named = request["list"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert (named["sha256"], named["bytes"], named["lines"]) == (digest, len(text.encode()), 2001)
    assert phone.wait_for("list", id=request["id"])["text"] == text
    phone.approve(request)
    assert ended(run)[0] == 0
    assert (record(stack)["list"], record(stack)["outcome"]) == (digest, "granted")
    assert stack.daemon.command("audit", "verify")["valid"]
    for name, bad in [("long", b"a" * 262145), ("empty", b""), ("binary", b"\xff\n")]:
        (tmp_path / name).write_bytes(bad)
        status, _, err = ended(job(*DEPLOY, "--file", str(tmp_path / name)))
        assert status == 2 and str(tmp_path / name) in err, name
    assert len(phone.requests()) == 1


def test_two_people_approve_a_job_that_nobody_is_behind(up):
    stack = up(approvals={"from": ["alice", "bob"], "needed": 2}, confirm="tap")
    phones = [stack.approver("alice"), stack.approver("bob")]
    run = job(*DEPLOY, "--user", "demo", "--", "echo", "ran")
    requests = [phone.next_request() for phone in phones]
    assert all(request["approvals"]["needed"] == 2 for request in requests)
    phones[0].approve(requests[0])
    assert run.poll() is None
    phones[1].approve(requests[1])
    assert ended(run)[:2] == (0, "ran\n")
    assert stack.daemon.command("audit", "verify")["valid"]


def recipe(language):
    """The guide's block of that language."""
    section = GUIDE.read_text().split(f"## {SECTION}\n", 1)[1].split("\n## ", 1)[0]
    return re.search(rf"```{language}[^\n]*\n(.*?)```", section, re.DOTALL)[1]


def test_the_guides_recipes(stack, tmp_path):
    phone = stack.approver("alice")
    daemon = stack.daemon
    head, default, tail = daemon.config.read_text().partition("[default]")
    daemon.write_config(head + recipe("toml") + default + tail)
    said = len(daemon.process.log())
    daemon.reload()
    wait_until(lambda: "read again" in daemon.process.log()[said:], 5, "the policy is in force")
    environment = {"PATH": f"{paths.BUILT}:/usr/bin:/bin"}

    # The deploy script: nothing changes before the code was typed.
    script = tmp_path / "deploy"
    script.write_text(recipe("sh"))
    script.chmod(0o755)
    for release in ("41", "42"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "index.html").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("releases/41")
    for answer, then in (("deny", "41"), ("approve", "42")):
        run = Terminal(behind("alice", "env", f"PATH={environment['PATH']}", str(script), "42"))
        request = phone.next_request(len(phone.requests()))
        assert request["detail"] == "release 42" and request["list"]["lines"] == 1
        assert phone.wait_for("list", id=request["id"])["text"] == "index.html\n"
        run.expect(CODE)
        decided = phone.decide(request, answer)
        if answer == "approve":
            run.send(decided["code"])
        assert (run.finish() == 0) == (answer == "approve")
        assert Path(os.readlink(current)).name == then
        # A denial keeps its place quiet for a moment.
        if answer == "deny":
            daemon.command("unblock", "--all")

    # The job: its line as cron reads it, with a harmless program at its end.
    line = next(line for line in recipe("crontab").splitlines() if not line.startswith("#"))
    words = shlex.split(line.split(" root ", 1)[1])
    words[words.index("--") + 1 :] = ["echo", "pruned"]
    run = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    request = phone.next_request(len(phone.requests()))
    assert (request["confirm"], request["user"], request["expires_in"]) == ("tap", "alice", 600)
    phone.approve(request)
    assert ended(run) == (0, "pruned\n", None)
