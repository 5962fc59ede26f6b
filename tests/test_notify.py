"""`countersign approve --notify` on a real notification daemon: a laptop that answers for a server."""

import re
import signal
import time

import pytest

from lab import notifications, paths
from lab.process import Process, wait_until

PASSWORD = "alice-password"
# A popup that has just come takes no answer: nobody can have read it.
LOOK = 0.8

pytestmark = pytest.mark.skipif(
    bool(notifications.missing()), reason=f"no {', '.join(notifications.missing())}: make deps"
)


@pytest.fixture
def parts(stack, tmp_path):
    """Everything, and a laptop that is paired; its approver has stopped after that."""
    laptop = stack.approver("alice", "laptop")
    laptop.stop()
    desktop = notifications.Desktop(tmp_path / "desktop")
    return stack, laptop, desktop, stack.client(stack.sshd())


@pytest.fixture
def headless(parts):
    """As the user service runs it: no terminal, nobody who types."""
    return background(*parts[1:3])


def background(laptop, desktop):
    argv = [paths.COMMAND, "approve", "--home", laptop.home, "--notify"]
    process = Process("approver", argv, laptop.home.parent / "laptop.log", env=desktop.environment)
    process.wait_for("connected")
    return process


def begin(client):
    """An ssh login that waits for an approval."""
    login = client.login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    return login


def code_of(desktop):
    summary, _ = desktop.wait_shown("at the terminal")
    return "".join(re.findall(r"\d", summary))


def test_a_click_approves_and_the_popup_shows_the_code(parts, headless):
    _, _, desktop, client = parts
    desktop.will_press("approve")
    login = begin(client)
    summary, body = desktop.wait_shown("alice")
    assert summary == "alice wants to log in to lab"
    assert "from: 127.0.0.1 port" in body
    assert "(the connection itself)" in body
    assert "service: sshd" in body
    desktop.wait_count(1)
    time.sleep(LOOK)
    desktop.click()
    code = code_of(desktop)
    desktop.wait_count(1)
    login.answer_code(code)
    assert login.finish() == 0
    desktop.wait_count(0, seconds=1)
    # What a journal keeps opens nothing.
    headless.wait_for("decided")
    assert code not in headless.log()


def test_a_click_denies(parts, headless):
    _, _, desktop, client = parts
    desktop.will_press("deny")
    login = begin(client)
    desktop.wait_shown("alice")
    time.sleep(LOOK)
    desktop.click()
    headless.wait_for("denied")
    login.send("")
    assert login.finish() == 255
    desktop.wait_count(0, seconds=1)


def test_a_click_on_what_has_just_come_answers_nothing(parts, headless):
    _, _, desktop, client = parts
    desktop.will_press("approve")
    login = begin(client)
    desktop.wait_shown("alice")
    desktop.ctl("action")
    desktop.wait_shown("press again")
    assert "decided" not in headless.log()
    time.sleep(LOOK)
    desktop.ctl("action")
    login.answer_code(code_of(desktop))
    assert login.finish() == 0


def test_a_click_on_the_popup_itself_answers_nothing_and_keeps_it(parts, headless):
    _, _, desktop, client = parts
    login = begin(client)
    desktop.wait_shown("alice")
    time.sleep(LOOK)
    desktop.click()
    wait_until(lambda: len(desktop.shown()) == 2, what="raised again")
    desktop.wait_count(1)
    assert "decided" not in headless.log()
    login.kill()


def test_a_login_that_goes_away_takes_its_popup_along(parts, headless):
    _, _, desktop, client = parts
    login = begin(client)
    desktop.wait_count(1)
    login.kill()
    headless.wait_for("withdrawn", 10)
    desktop.wait_count(0, seconds=1)


def test_two_logins_at_once_are_said_to_differ(parts, headless):
    _, _, desktop, client = parts
    logins = [begin(client), begin(client)]
    desktop.wait_count(2)
    _, body = desktop.wait_shown("Careful")
    assert "alice has more than one request open" in body
    for login in logins:
        login.kill()
    desktop.wait_count(0, seconds=12)


def test_lines_and_popups_work_side_by_side(parts):
    _, laptop, desktop, client = parts
    laptop.events.clear()
    laptop.environment = desktop.environment
    laptop.start("--notify")
    laptop.wait_for("connected")
    login = begin(client)
    request = laptop.next_request()
    desktop.wait_shown("alice")
    code = laptop.approve(request)
    assert code_of(desktop) == code
    login.answer_code(code)
    assert login.finish() == 0
    desktop.wait_count(0, seconds=1)
    laptop.stop()


def test_a_notification_daemon_that_crashes_and_comes_back_is_told_again(parts, headless):
    _, _, desktop, client = parts
    login = begin(client)
    desktop.wait_count(1)
    desktop.daemon.kill()
    headless.wait_for("no desktop notifications", 10)
    desktop.start_daemon(press="approve")
    headless.wait_for("work again", 10)
    desktop.wait_shown("alice")
    assert headless.log().count("no desktop notifications") == 1
    time.sleep(LOOK)
    desktop.ctl("action")
    login.answer_code(code_of(desktop))
    assert login.finish() == 0


def test_without_a_session_bus_it_goes_on_and_says_so_once(parts):
    stack, laptop, desktop, client = parts
    desktop.bus.stop()
    approver = background(laptop, desktop)
    approver.wait_for("no desktop notifications")
    login = begin(client)
    approver.wait_for("alice wants to log in")
    time.sleep(3)
    assert approver.alive()
    assert approver.log().count("no desktop notifications") == 1
    login.kill()


def test_popups_go_when_the_approver_ends(parts, headless):
    _, _, desktop, client = parts
    login = begin(client)
    desktop.wait_count(1)
    assert headless.stop(signal.SIGTERM) == 0
    desktop.wait_count(0, seconds=1)
    login.kill()
