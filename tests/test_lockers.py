"""Screen lockers: real ones, run by the user whom they lock out, on screens that nobody sees."""

import time

import pytest
from lab import accounts, lockers, pam, paths, screen
from lab.lockers import I3lock, Swaylock, Xscreensaver, Xsecurelock
from lab.process import Process, wait_until
from lab.terminal import Terminal

IMAGES = paths.REPOSITORY / "docs/images/desktop"
ASKED = "step: ask"
TAPS = "step: say"


class Scene:
    """alice in front of her screen, with her phone."""

    def __init__(self, stack, syslog, directory):
        self.stack, self.syslog, self.directory = stack, syslog, directory
        self.phone = stack.approver("alice")
        self.answered = 0

    def lock(self, kind):
        gone = screen.missing(*kind.programs)
        if gone:
            pytest.skip(f"no {', '.join(gone)}: make deps")
        self.locker = kind(self.directory / f"{kind.service}-{time.monotonic_ns()}")
        return self.locker

    def gives_password(self, then):
        """Types it, and waits until PAM has come so far."""
        mark = self.syslog.mark()
        self.locker.gives_password()
        self.wait_log(then, mark)

    def wait_log(self, text, mark=None):
        after = self.syslog.since if mark is None else mark
        self.syslog.wait_for(text, 15, after=after)

    def request(self):
        self.answered += 1
        return self.phone.next_request(after=self.answered - 1)


@pytest.fixture
def scene(stack, syslog, tmp_path):
    return Scene(stack, syslog, tmp_path)


@pytest.mark.parametrize("kind", lockers.ONE_FIELD)
def test_a_password_and_a_tap_unlock_what_has_one_field(scene, kind):
    locker = scene.lock(kind)
    scene.gives_password(TAPS)
    request = scene.request()
    assert (request["service"], request["kind"], request["confirm"]) == (kind.service, "unlock", "tap")
    assert request["user"] == "alice"
    assert locker.is_locked()
    assert scene.phone.approve(request) is None
    locker.wait_unlocked()
    # It was asked once, and nothing of what it holds was taken for a code.
    assert len(scene.phone.requests()) == 1
    assert not scene.syslog.lines(ASKED, after=scene.syslog.since)


@pytest.mark.parametrize("kind", (Xsecurelock, Xscreensaver))
def test_a_password_and_the_code_unlock_what_asks(scene, kind):
    locker = scene.lock(kind)
    scene.gives_password(ASKED)
    request = scene.request()
    assert (request["service"], request["kind"], request["confirm"]) == (kind.service, "unlock", "code")
    locker.screen.type(scene.phone.approve(request))
    locker.wait_unlocked()


def test_a_no_leaves_it_locked(scene):
    locker = scene.lock(I3lock)
    scene.gives_password(TAPS)
    scene.phone.decide(scene.request(), "deny")
    scene.wait_log("step: verdict Denied")
    # The password alone is not enough, and the phone does not ring at once again.
    locker.screen.wait_still()
    scene.gives_password("step: verdict Denied")
    assert locker.is_locked()
    assert len(scene.phone.requests()) == 1


def test_without_server_or_daemon_it_stays_locked_and_opens_when_they_are_back(scene):
    locker, stack = scene.lock(I3lock), scene.stack
    stack.server.stop()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon knows that its server is away")
    scene.gives_password("step: verdict Unreachable")
    stack.daemon.stop()
    scene.gives_password("nobody listens on")
    assert locker.is_locked()
    # The password was not taken for a code: no try is gone.
    assert not any("wrong" in str(record) for record in stack.daemon.audit())
    stack.server.start()
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 20, "the daemon is connected again")
    scene.gives_password(TAPS)
    scene.phone.approve(scene.request())
    locker.wait_unlocked()


@pytest.mark.quiet
@pytest.mark.parametrize("kind", (I3lock, Swaylock))
def test_a_locker_that_is_killed_takes_its_request_off_the_phone_within_a_second(scene, kind):
    locker = scene.lock(kind)
    scene.gives_password(TAPS)
    request = scene.request()
    killed = time.monotonic()
    locker.kill()
    closed = scene.phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn"
    assert closed["seen"] - killed < 1.0


def test_nobody_unlocks_for_somebody_else(stack, syslog):
    """The socket that a user's own programs come by is about that user alone, whatever the locker says."""
    pam.write("i3lock", f"auth required {paths.MODULE}\naccount required pam_permit.so\n")
    phone = stack.approver("bob")
    asks = Terminal(accounts.as_user_argv("alice", "pamtester", "i3lock", "bob", "authenticate"))
    assert asks.finish() != 0
    assert not phone.requests()
    assert "denied" in syslog.lines("service=i3lock", after=syslog.since)[-1]


@pytest.mark.parametrize(("service", "asks"), [("sddm", False), ("gdm-password", True), ("kde", True)])
def test_greeters_by_their_name_alone(stack, service, asks):
    """Without the greeters themselves: what PAM would hear from one of that name."""
    pam.write(service, pam.lines(auth=True, session=False))
    phone = stack.approver("alice")
    greeter = Terminal(["pamtester", service, "alice", "authenticate"])
    greeter.answer_password(lockers.PASSWORD)
    request = phone.next_request()
    assert request["confirm"] == ("code" if asks else "tap")
    if asks:
        greeter.answer_code(phone.approve(request))
    else:
        # Before the answer: one that is there already needs no word.
        greeter.expect(r"Approve this on your phone\.")
        phone.approve(request)
    assert greeter.finish() == 0, greeter.text
    assert ("Approve this on your phone." in greeter.text) is not asks


def keeper(tmp_path, picture, who):
    """Keeps what `picture` takes, for docs/desktop.md."""
    IMAGES.mkdir(parents=True, exist_ok=True)

    def keep(name):
        raw = tmp_path / "raw.png"
        picture(raw)
        screen.keep(raw, IMAGES / f"{who}-{name}.png")

    return keep


@pytest.mark.screenshots
@pytest.mark.parametrize("answer", ("approve", "deny"))
def test_pictures_of_the_console(stack, tmp_path, answer):
    """login(1), as a getty starts it, in a window that looks like a console."""
    pam.write("login", pam.lines(auth=True, session=False))
    phone = stack.approver("alice")
    shown = screen.Screen(tmp_path)
    keep = keeper(tmp_path, shown.picture, "console")
    font = ["-fa", "DejaVu Sans Mono", "-fs", "18", "-bg", "black", "-fg", "gray90", "-geometry", "52x20+0+0", "+sb", "-bw", "8"]
    before = shown.pixels()
    Process("xterm", ["xterm", *font, "-e", "login", "-p", "alice"], tmp_path / "xterm.log", env={"DISPLAY": shown.display})
    shown.wait_changed(before)
    shown.wait_still()
    shown.type(lockers.PASSWORD)
    request = phone.next_request()
    time.sleep(1)
    shown.wait_still()
    if answer == "approve":
        keep("waiting")
    shown.type(phone.decide(request, answer).get("code") or " ")
    time.sleep(2)
    keep("approved" if answer == "approve" else "denied")


@pytest.mark.screenshots
@pytest.mark.parametrize("kind", lockers.ALL)
def test_pictures(scene, kind, tmp_path):
    """What the person sees: docs/desktop.md."""
    keep = keeper(tmp_path, lambda raw: locker.screen.picture(raw), kind.service)
    asks = TAPS if kind in lockers.ONE_FIELD else ASKED
    locker = scene.lock(kind)
    scene.gives_password(asks)
    request = scene.request()
    locker.wait_ready()
    time.sleep(0.5)
    keep("waiting")
    code = scene.phone.approve(request)
    if code:
        locker.screen.type(code)
    locker.wait_unlocked()
    time.sleep(1)
    keep("approved")
    locker.end()

    locker = scene.lock(kind)
    scene.gives_password(asks)
    request = scene.request()
    locker.wait_ready()
    before = locker.screen.pixels()
    scene.phone.decide(request, "deny")
    if asks == ASKED:
        locker.screen.press("Return")
    scene.wait_log("step: verdict Denied")
    locker.screen.wait_changed(before)
    time.sleep(0.5)
    keep("denied")
