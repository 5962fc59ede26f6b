"""PackageKit, which desktops' software centres install by: a real packagekitd with apt behind it, polkit, and our module and hook."""

import pwd
import shutil

import pytest
from lab import packagekit as lab_packagekit
from lab import pam
from lab import polkit as lab_polkit
from lab.packagekit import PackageKit
from lab.polkit import Polkit
from lab.repository import AptRoot, Repository

INSTALL = "org.freedesktop.packagekit.package-install"
ALICE = "alice-password"

missing = lab_polkit.missing() + lab_packagekit.missing()
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not there: {missing}")


@pytest.fixture
def apt(tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.add("hello", "2.10-3")
    repository.add("greeter", "3")
    repository.publish()
    made = AptRoot(tmp_path / "root", repository)
    # PackageKit downloads nothing where it sees no network.
    made.apt("install", "--download-only", "hello", "greeter")
    return made


@pytest.fixture
def desktop(tmp_path, clean, apt):
    """The bus, polkit with our line behind its passwords and the sample rule, and PackageKit."""
    pam.write("polkit-1", pam.lines(auth=True, session=False))
    polkit = Polkit(tmp_path / "polkit")
    polkit.write_rule("60-packagekit.rules", (lab_polkit.EXAMPLES / "60-packagekit.rules").read_text())
    polkit.authority.wait_for("Reloading rules", 10)
    yield PackageKit(tmp_path / "packagekit", polkit, apt)
    (pam.PAM_D / "polkit-1").unlink(missing_ok=True)
    shutil.rmtree(lab_polkit.RULES, ignore_errors=True)


def test_the_phone_rings_before_packagekit_installs(stack, apt, desktop):
    phone = stack.approver("alice")
    demo = desktop.install("demo", "hello")
    demo.choose(1, ALICE)
    request = phone.next_request()
    assert (request["service"], request["user"], request["requester"]) == ("polkit-1", "alice", "demo")
    assert request["action"] == INSTALL
    demo.agent.answer_code(phone.approve(request))
    assert demo.shell.finish(60) == 0, demo.shell.text
    assert apt.version("hello") == "2.10-3"

    before = apt.packages()
    demo = desktop.install("demo", "greeter")
    demo.choose(1, ALICE)
    phone.decide(phone.next_request(after=1), "deny")
    demo.agent.answer_code("")
    assert demo.shell.finish(30) != 0, demo.shell.text
    assert apt.packages() == before


def test_apts_hook_behind_it_asks_who_asked_packagekit(stack, apt, desktop):
    """Two gates, two questions: polkit knows who and what kind, the hook which packages. Nobody sits at the terminal that
    PackageKit gives apt, so a tap is enough there."""
    apt.turn_on()
    # It tells that by itself where logind knows a session; there are none here.
    desktop.restart(PACKAGEKIT_CALLER_UID=str(pwd.getpwnam("demo").pw_uid))
    alices, demos = stack.approver("alice"), stack.approver("demo")
    for number, (decision, package) in enumerate((("approve", "hello 2.10-3"), ("deny", "greeter 3"))):
        before = apt.packages()
        demo = desktop.install("demo", package.split()[0])
        demo.choose(1, ALICE)
        demo.agent.answer_code(alices.approve(alices.next_request(after=number)))
        request = demos.next_request(after=number, seconds=30)
        assert (request["service"], request["user"], request["requester"]) == ("ask", "root", "demo")
        assert (request["action"], request["detail"]) == ("apt.install", package)
        assert request["confirm"] == "tap" and "terminal" not in request
        assert apt.packages() == before
        demos.decide(request, decision)
        ended = demo.shell.finish(60)
        assert (ended == 0) == (decision == "approve"), demo.shell.text
        assert (apt.packages() == before) == (decision == "deny")
