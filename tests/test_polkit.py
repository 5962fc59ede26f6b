"""polkit's passwords with a phone behind them: the real authority, its set-uid helper, pkexec and the agent for terminals."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from lab import accounts, pam, paths
from lab import polkit as lab_polkit
from lab.polkit import EXEC, Polkit
from lab.terminal import CODE

ALICE = "alice-password"
SAID = " (said by polkit's rule)"

pytestmark = pytest.mark.skipif(bool(lab_polkit.missing()), reason=f"not there: {lab_polkit.missing()}")


@pytest.fixture
def polkit(tmp_path, clean):
    """The authority, whose service asks us."""
    pam.write("polkit-1", pam.lines(auth=True, session=False))
    yield Polkit(tmp_path / "polkit")
    (pam.PAM_D / "polkit-1").unlink(missing_ok=True)
    shutil.rmtree(lab_polkit.RULES, ignore_errors=True)


def test_the_phone_shows_what_is_to_be_done_and_for_whom(stack, polkit):
    alice, bob = stack.approver("alice"), stack.approver("bob")
    demo = polkit.asker()
    demo.pkexec("id", "-u")
    demo.choose(1, ALICE)
    request = alice.next_request()
    assert (request["service"], request["kind"], request["user"]) == ("polkit-1", "action", "alice")
    # Who asks is the kernel's word, the rest polkit's. The helper's own command line says nothing.
    assert request["requester"] == "demo" and request["terminal"].startswith("pts/")
    assert request["action"] == EXEC and "command" not in request
    assert request["detail"] == "Authentication is needed to run `/usr/bin/id' as the super user: /usr/bin/id -u" + SAID
    demo.agent.answer_code(alice.approve(request))
    demo.agent.expect("AUTHENTICATION COMPLETE")
    assert demo.status() == 0
    assert "0" in demo.shell.lines()
    assert alice.wait_closed(request)["outcome"] == "approved"
    # The other identity, for another command: the first question is over, and the second one is known.
    demo.pkexec("echo", "second")
    demo.choose(2, "bob-password")
    request = bob.next_request()
    assert (request["user"], request["action"]) == ("bob", EXEC)
    assert "/usr/bin/echo second" in request["detail"]
    bob.decide(request, "deny")
    demo.agent.answer_code("")
    demo.agent.expect("Denied on the phone")
    demo.agent.expect("AUTHENTICATION FAILED")
    assert demo.status() == 127
    assert "second" not in demo.shell.lines()
    assert len(alice.requests()) == 1


@pytest.mark.polkit
@pytest.mark.quiet
def test_a_dialog_that_is_closed_is_gone_from_the_phone_within_a_second(stack, polkit):
    phone = stack.approver("alice")
    for way in ("terminal", "window"):
        demo = polkit.asker()
        demo.pkexec("echo", "ran")
        demo.choose(1, ALICE)
        request = phone.next_request(after=len(phone.requests()))
        demo.agent.expect(CODE)
        pressed = time.monotonic()
        if way == "terminal":
            demo.agent.interrupt()
        else:
            # As the agents of desktops do, by polkit's own library: the helper is set-uid, and its starter may end it.
            demo.end_helper()
        closed = phone.wait_closed(request)
        assert closed["outcome"] == "withdrawn", way
        assert closed["seen"] - pressed < 1.0, way
        assert "ran" not in demo.shell.lines()
    # Nothing rang in its place.
    assert len(phone.requests()) == 2


def test_a_tap_is_enough_where_the_rule_says_so(up, polkit):
    stack = up(confirm="tap")
    phone = stack.approver("alice")
    demo = polkit.asker()
    demo.pkexec("id", "-u")
    demo.choose(1, ALICE)
    request = phone.next_request()
    demo.agent.expect(r"Info: Approve this on your phone\.")
    phone.approve(request)
    demo.agent.expect("AUTHENTICATION COMPLETE")
    assert demo.status() == 0


def test_nobody_gets_through_where_nobody_approves(up, polkit):
    stack = up(wait="5s", codes=[], offline=[])
    phone = stack.approver("alice")
    demo = polkit.asker()

    def refused(said):
        demo.agent.expect(said, timeout=20)
        demo.agent.expect("AUTHENTICATION FAILED", timeout=20)
        assert demo.status() == 127
        assert "ran" not in demo.shell.lines()

    # Nobody decides: an empty line asks once more, and then it is over.
    demo.pkexec("echo", "ran")
    demo.choose(1, ALICE)
    for number in range(2):
        demo.agent.expect(CODE)
        assert phone.wait_closed(phone.next_request(after=number), 15)["outcome"] == "expired"
        demo.agent.send("")
    refused("Nobody approved in time")
    # A wrong password comes nowhere near the phone.
    asked = len(phone.requests())
    demo.pkexec("echo", "ran")
    demo.choose(1, "wrong")
    demo.agent.expect("AUTHENTICATION FAILED", timeout=20)
    assert demo.status() == 127 and len(phone.requests()) == asked
    stack.server.stop()
    demo.pkexec("echo", "ran")
    demo.choose(1, ALICE)
    refused("The approval server cannot be reached")
    stack.daemon.stop()
    demo.pkexec("echo", "ran")
    demo.choose(1, ALICE)
    refused("approval service on this machine is not running")


def test_root_who_carries_no_phone_is_its_callers(up, tmp_path, clean):
    pam.write("polkit-1", pam.lines(auth=True, session=False))
    try:
        polkit = Polkit(tmp_path / "polkit", admins=("root",), told=False)
        subprocess.run(["chpasswd"], input="root:root-password\n", text=True, check=True)
        phone = up().approver("demo")
        demo = polkit.asker()
        demo.pkexec("id", "-u")
        demo.agent.answer_password("root-password")
        request = phone.next_request()
        assert (request["user"], request["requester"]) == ("root", "demo")
        # No rule tells it here: then nothing is known of the action, and nothing is shown.
        assert "action" not in request and "detail" not in request
        demo.agent.answer_code(phone.approve(request))
        assert demo.status() == 0
    finally:
        (pam.PAM_D / "polkit-1").unlink(missing_ok=True)


@pytest.mark.quiet
@pytest.mark.parametrize("confirm", ["code", "tap"])
def test_the_helper_that_systemd_starts(up, tmp_path, clean, confirm):
    """Nobody kills that one when its dialog is closed: the module has to notice by itself that the agent is gone."""
    pam.write("polkit-1", pam.lines(auth=True, session=False))
    try:
        phone = up(confirm=confirm).approver("alice")
        for ends in ("approve", "hang up"):
            helper = lab_polkit.SocketHelper(tmp_path / "helper")
            helper.agent.answer_password(ALICE)
            request = phone.next_request(after=len(phone.requests()))
            assert (request["user"], request["requester"], request["kind"]) == ("alice", "demo", "action")
            if ends == "approve":
                code = phone.approve(request)
                if code:
                    helper.agent.answer_code(code)
                helper.agent.expect("successfully authenticated")
                assert helper.popen.wait(10) == 0
                continue
            if confirm == "code":
                # In the conversation, where nobody polls.
                helper.agent.expect(CODE)
            closed_at = time.monotonic()
            helper.agent.kill()
            closed = phone.wait_closed(request)
            assert closed["outcome"] == "withdrawn"
            assert closed["seen"] - closed_at < 1.0
            assert helper.popen.wait(10) != 0
        assert len(phone.requests()) == 2
    finally:
        (pam.PAM_D / "polkit-1").unlink(missing_ok=True)


def asks(*words, user=None, **options):
    argv = [str(paths.COMMAND), "polkit-asks", "--", *words]
    argv = accounts.as_user_argv(user, *argv) if user else argv
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, **options)


@pytest.mark.polkit
def test_several_questions_are_all_named_and_strangers_add_none(stack, polkit):
    phone = stack.approver("alice")
    for user in ("demo", "alice"):
        done = asks("demo", "org.example.harmless", "Nothing at all", user=user)
        assert (done.returncode, done.stdout) == (4, "") and "only polkit" in done.stderr, done
    first, second = polkit.asker(), polkit.asker()
    first.pkexec("true", "first")
    first.agent.expect(r"Choose identity[^\r\n]*: ?$")
    second.pkexec("true", "second")
    second.choose(1, ALICE)
    request = phone.next_request()
    # Nobody knows which of them this password was for.
    assert "action" not in request
    assert request["detail"].startswith("one of 2 open questions: ")
    assert "true first" in request["detail"] and "true second" in request["detail"]
    phone.decide(request, "deny")


@pytest.mark.polkit
def test_what_the_daemon_could_not_be_told_is_told_with_the_next_one(stack, polkit):
    phone = stack.approver("alice")
    first, second = polkit.asker(), polkit.asker()
    stack.daemon.stop()
    first.pkexec("true", "first")
    first.agent.expect(r"Choose identity[^\r\n]*: ?$")
    stack.daemon.start()
    second.pkexec("true", "second")
    second.choose(1, ALICE)
    request = phone.next_request()
    assert "action" not in request
    assert "true first" in request["detail"] and "true second" in request["detail"]
    phone.decide(request, "deny")


def test_an_action_has_its_packages_words(stack, polkit):
    """PackageKit and most others give polkit no words of their own: those of the action's description are shown."""
    phone = stack.approver("alice")
    demo = polkit.asker()
    demo.run("pkcheck --action-id org.freedesktop.login1.reboot-ignore-inhibit --process $$ -u; echo status=$?=")
    demo.choose(1, ALICE)
    request = phone.next_request()
    assert request["action"] == "org.freedesktop.login1.reboot-ignore-inhibit"
    assert "Authentication is required to reboot the system" in request["detail"]
    assert request["detail"].endswith(SAID)
    demo.agent.answer_code(phone.approve(request))
    assert demo.status() == 0


def test_packagekit_asks_an_administrator_each_time(stack, polkit):
    """The sample rule, on an action that Debian's own lets administrators do unasked, and others remember for a while."""
    phone = stack.approver("alice")
    sample = (lab_polkit.EXAMPLES / "60-packagekit.rules").read_text()
    # The lab has no PackageKit that would define them.
    ours = "org.freedesktop.systemd1.manage-units"
    polkit.write_rule("60-packagekit.rules", sample.replace("org.freedesktop.packagekit.package-install\"", ours + "\""))
    polkit.authority.wait_for("Reloading rules", 10)
    demo = polkit.asker()
    for number in range(2):
        demo.run(f"pkcheck --action-id {ours} --process $$ -u; echo status=$?=")
        demo.choose(1, ALICE)
        request = phone.next_request(after=number)
        assert request["action"] == ours
        demo.agent.answer_code(phone.approve(request))
        assert demo.status() == 0


def enable(*words):
    return subprocess.run([str(paths.COMMAND), *words], capture_output=True, text=True, timeout=60)


def test_polkit_is_turned_on_beside_its_packages_file(stack):
    """The distribution's file is in another folder: /etc gets a copy with the lines, and has none once it is taken back."""
    stack.approver("alice")
    file = pam.PAM_D / "polkit-1"
    vendor = Path("/usr/lib/pam.d/polkit-1")
    assert vendor.exists() and not file.exists()
    words = ("enable", "polkit-1", "--module", str(paths.MODULE))
    shown = enable(*words, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"will be a copy of {vendor}" in shown.stdout and "that person's phone rings" in shown.stdout
    assert not file.exists()
    done = enable(*words, "--yes", "--no-test", "--within", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        assert file.stat().st_mode & 0o777 == 0o644
        lines = file.read_text().splitlines()
        assert [line for line in lines if "countersign" not in line] == vendor.read_text().splitlines()
        doctor = json.loads(enable("--json", "doctor", "polkit-1").stdout)
        found = [one for one in doctor["findings"] if one["severity"] not in ("not looked at", "advice")]
        assert found == [] and "polkit-1" in doctor["asking"], doctor
        ours = file.read_text()
    finally:
        back = enable("rollback")
    assert back.returncode == 0, back.stderr
    assert not file.exists()
    # As it stands once it was confirmed: the lines go, and the copy is the administrator's to remove.
    file.write_text(ours)
    off = enable("disable", "polkit-1")
    assert off.returncode == 0 and f"is a copy of {vendor} now: remove it" in off.stdout, off.stdout + off.stderr
    assert file.read_text() == vendor.read_text()
