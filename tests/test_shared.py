"""Two people share a machine: real login, sudo and a locker, as docs/shared-workstations.md sets them up. The marked run
takes its pictures."""

import json
import re
import subprocess
import time

import pytest
from lab import pam, paths, seat, ward

IMAGES = paths.REPOSITORY / "docs" / "images" / "shared"
PROMPT = r"Approve on your phone, then type its code:"
WRONG = r"That is not the code, 2 tries left"
SHELL = r"\$ $"
PASSWORD, ROOT = r"password for \w+: ", r"\n0\n"
IDLE = 2

pytestmark = pytest.mark.skipif(bool(seat.missing()), reason=f"no {', '.join(seat.missing())}: make deps-tests")


@pytest.fixture
def desk(up):
    """Everything, with the document's group, policy and PAM lines; of the services only those that are used here."""
    ward.join()
    for service in ("login", "xsecurelock"):
        (pam.PAM_D / service).unlink(missing_ok=True)
        ward.guard(service)
    stack = up(codes=None)
    ward.rule(stack)
    yield stack
    ward.leave()


class Pictures:
    """The document's pictures; none where the test is played for its own sake."""

    def __init__(self, wanted):
        self.wanted = wanted

    def take(self, screen, name):
        if not self.wanted:
            return
        IMAGES.mkdir(exist_ok=True)
        # The terminal that shows it may draw a moment later.
        time.sleep(1)
        file = IMAGES / f"{name}.png"
        screen.picture(file)
        assert file.stat().st_size < 40_000, name


with_pictures = pytest.mark.parametrize(
    "pictures",
    [pytest.param(Pictures(False), id="plain"), pytest.param(Pictures(True), id="pictures", marks=pytest.mark.screenshots)],
)


def begins(console, user):
    """Types a name at the console."""
    console.wait_for("login: ")
    console.type(user)


def gets_in(console, code):
    console.wait_for(PROMPT)
    console.type(code)
    console.wait_for(SHELL)


def sudo(console, user, phone=None, lease=""):
    """Becomes root by password and phone; without a phone nobody is asked, because of a lease."""
    count = {pattern: len(re.findall(pattern, console.text())) for pattern in (PASSWORD, PROMPT, ROOT)}
    before = len(phone.requests()) if phone else 0
    console.type("sudo -k id -u")
    console.wait_for(PASSWORD, count[PASSWORD] + 1)
    console.type(f"{user}-password")
    if phone:
        request = phone.next_request(after=before)
        assert (request["service"], request["user"]) == ("sudo", user)
        phone.send(f"a {request['id']} {lease}".strip())
        code = phone.wait_for("decided", id=request["id"])["code"]
        console.wait_for(PROMPT, count[PROMPT] + 1)
        console.type(code)
    console.wait_for(ROOT, count[ROOT] + 1)


def wakes(screen, phone):
    """Somebody presses a key at a locked screen: the request that comes of it, once the screen asks for its code."""
    before = len(phone.requests())
    screen.look("before")
    screen.press("space")
    request = phone.next_request(after=before)
    screen.wait_changed()
    return request


@with_pictures
def test_two_people_share_a_machine(desk, tmp_path, pictures):
    alices, bobs = desk.approver("alice"), desk.approver("bob")
    first, second = seat.Screen(tmp_path / "first"), seat.Screen(tmp_path / "second")

    # alice comes: name, then phone. Her sudo gets a lease, and is not asked again.
    console = first.console()
    begins(console, "alice")
    request = alices.next_request()
    assert (request["service"], request["user"], request["confirm"]) == ("login", "alice", "code")
    pictures.take(first, "name-then-phone")
    gets_in(console, alices.approve(request))
    sudo(console, "alice", alices, lease="1h")
    sudo(console, "alice")

    # She walks away, and the screen locks by itself.
    locker = first.lock_when_idle("alice", IDLE)
    locker.wait_locked()

    # bob presses a key: alice's phone rings, and his does not.
    unlock = wakes(first, alices)
    assert (unlock["service"], unlock["user"], unlock["kind"]) == ("xsecurelock", "alice", "unlock")
    pictures.take(first, "unlock")

    # He takes the other console. Her lease is not his.
    own = second.console()
    begins(own, "bob")
    request = bobs.next_request()
    code = bobs.approve(request)
    gets_in(own, code)
    sudo(own, "bob", bobs)

    # He types his code at her screen, and even with her approval it opens nothing. Who gives up there ends her request.
    first.type(code)
    first.look("before")
    alices.approve(unlock)
    first.wait_changed()
    first.press("Escape")
    assert alices.wait_closed(unlock)["outcome"] == "withdrawn"
    assert locker.is_locked()

    # Shift change while a request waits: bob has gone, alice types her name and leaves, bob comes back.
    own.end("ctrl+d")
    own = second.console()
    before = len(alices.requests())
    begins(own, "alice")
    left = alices.next_request(after=before)
    own.wait_for(PROMPT)
    own.end("ctrl+c")
    assert alices.wait_closed(left)["outcome"] == "withdrawn"
    own = second.console()
    # What her phone says now opens nothing: the request is over.
    alices.send(f"a {left['id']}")
    begins(own, "bob")
    request = bobs.next_request(after=2)
    code = bobs.approve(request)
    assert "alice" not in own.text()

    # Her screen waits for her at the same time. Her code does not open his prompt, and then opens her screen.
    unlock = wakes(first, alices)
    hers = alices.approve(unlock)
    own.wait_for(PROMPT)
    own.type(hers)
    own.wait_for(WRONG)
    pictures.take(second, "not-your-code")
    own.type(code)
    own.wait_for(SHELL)
    first.type(hers)
    locker.wait_locked(False)

    # Behind it her lease still holds.
    sudo(console, "alice")

    # bob has a lease as well. Whoever comes to that console after him is asked, though it be alice, who has one elsewhere.
    sudo(own, "bob", bobs, lease="1h")
    sudo(own, "bob")
    own.end("ctrl+d")
    own = second.console()
    before = len(alices.requests())
    begins(own, "alice")
    gets_in(own, alices.approve(alices.next_request(after=before)))
    sudo(own, "alice", alices)
    assert "bob" not in own.text()

    # Each phone has seen its own person's requests, and no other.
    assert {request["user"] for request in alices.requests()} == {"alice"}
    assert {request["user"] for request in bobs.requests()} == {"bob"}
    records = [record for record in desk.daemon.audit() if record["event"] == "login" and record["outcome"] == "granted"]
    assert [record["user"] for record in records if record["factor"] == "lease"] == ["alice", "alice", "bob"]
    assert all(record["approver"] == record["user"] for record in records)


@with_pictures
def test_the_phone_alone_is_for_whom_a_rule_names(desk, tmp_path, pictures):
    demos, alices = desk.approver("demo"), desk.approver("alice")
    screen = seat.Screen(tmp_path / "screen")
    console = screen.console()
    console.wait_for("login: ")
    console.type("demo")
    console.wait_for("Your phone alone does not let you in here. Ask an administrator.")
    pictures.take(screen, "refused")
    assert demos.requests() == []
    # The break-glass group has a password, and needs no phone.
    console.wait_for("login: ", 2)
    console.type("rescue")
    console.wait_for("Password: ")
    console.type("rescue-password")
    console.wait_for(SHELL)
    assert alices.requests() == []


def test_doctor_finds_the_phone_alone_where_nobody_has_said_so(desk):
    desk.approver("alice")

    def doctor(*words):
        argv = [paths.COMMAND, "doctor", "--json", *words, "login"]
        return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout)

    def kinds():
        return {one["kind"] for one in doctor()["findings"]}

    said = doctor("--drill")
    about_the_line = {"approval-alone", "above-password", "skip-refused", "passwordless-unruled", "passwordless-idle"}
    assert not about_the_line & {one["kind"] for one in said["findings"]}, said
    assert 'login lets in with the phone alone whom "ward desks" names' in said["notes"]
    rows = {row["who"]: row for row in said["drill"]}
    assert (rows["with a phone"]["phone_gone"], rows["break-glass"]["phone_gone"]) == ("refused", "in: password")
    checked = subprocess.run([paths.COMMAND, "policy", "check"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # The word is taken from the line, then from the rule.
    file = pam.PAM_D / "login"
    text = file.read_text()
    file.write_text(text.replace(" passwordless", ""))
    assert "approval-alone" in kinds()
    file.write_text(text)
    desk.daemon.write_config(desk.daemon.config.read_text().replace("passwordless = true", "passwordless = false"))
    assert "passwordless-unruled" in kinds()
