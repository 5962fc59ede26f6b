"""Web Push in Firefox: a login rings a phone that was put away, by way of a push service and the real service worker."""

import json
import re
import sqlite3
import time
import urllib.request
from base64 import urlsafe_b64decode

import pytest
from lab import firefox, notifications
from lab.fake_host import FakeHost
from lab.firefox import FirefoxPhone
from lab.forger import Key, blob_of, sha256
from lab.notifications import Desktop
from lab.process import wait_until
from lab.pushservice import Keys, PushService
from lab.server import Server
from test_web_alarm import pair

PASSWORD = "alice-password"
NEEDED = [name for name in (firefox.missing(), *notifications.missing()) if name]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"no {', '.join(NEEDED)}: make deps-tests")


@pytest.fixture
def push(tmp_path, clean):
    service = PushService(tmp_path / "push")
    yield service
    service.stop()


@pytest.fixture
def desktop(tmp_path, clean):
    return Desktop(tmp_path / "desktop")


@pytest.fixture
def parts(up, push, desktop, tmp_path):
    """Everything, with a phone that is paired, rung by push, and put away."""
    stack = up(server={"options": push.server_options})
    phone = FirefoxPhone(stack.server.origin, push, desktop, tmp_path / "profile").pair("alice")
    phone.leave()
    desktop.ctl("close-all")
    return stack, phone, stack.client(stack.sshd())


class Played:
    """A phone that is paired with a host which the test plays, rung by push, and put away."""

    def __init__(self, directory, push, desktop):
        self.push = push
        self.desktop = desktop
        self.server = Server(directory / "server", options=push.server_options)
        self.host = FakeHost(directory / "host", self.server, "db-1")
        self.phone = FirefoxPhone(self.server.origin, push, desktop, directory / "profile")
        self.device = pair(self.phone, self.host)
        self.phone.wait_until("async () => (await (await navigator.serviceWorker.ready).pushManager.getSubscription()) !== null")
        wait_until(self.subscribed, 10, "the server knows where to ring")
        self.phone.leave()
        desktop.ctl("close-all")

    def subscribed(self):
        return self.count("subscriptions") == 1

    def count(self, name):
        with urllib.request.urlopen(f"{self.server.origin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^countersign_{re.escape(name)} (\d+)$", text, re.MULTILINE)
        return int(found.group(1)) if found else 0

    def answers(self, result):
        return self.count(f'pushes_total{{result="{result}"}}')

    def topic(self, asked):
        """The topic of a request and of its end, as docs/protocol.md has it."""
        host = sha256(blob_of(self.host.key.line))
        return sha256(host + b"\x01" + bytes.fromhex(asked.id)).hex()[:32]

    def close(self, asked):
        """Ends a request, and waits until that has been pushed."""
        self.host.close(self.device, asked, "withdrawn")
        ended = lambda push: (push["headers"]["topic"], push["headers"]["ttl"]) == (self.topic(asked), "600")
        wait_until(lambda: any(ended(push) for push in self.push.pushes(status=201)), 10, "the end is pushed")

    def shown(self, asked):
        """The popups that show a request: each has a user of its own."""
        user = asked.fields["user"]
        return [popup for popup in self.desktop.shown() if user in popup[0]]

    def wait_shown(self, asked, seconds=30):
        return wait_until(lambda: self.shown(asked), seconds, f"a popup for {asked.fields['user']}; {self.desktop.shown()}")


@pytest.fixture
def played(push, desktop, tmp_path):
    return Played(tmp_path, push, desktop)


def ssh(client):
    login = client.login("alice", "id", "-un", timeout=30)
    login.answer_password(PASSWORD)
    return login


def test_a_login_rings_a_phone_that_was_put_away_and_is_approved_in_the_app(parts, push, desktop):
    stack, phone, client = parts
    login = ssh(client)
    title, body = desktop.wait_shown("alice wants to log in", seconds=30)
    assert title == "alice wants to log in to lab"
    assert "By sshd, for alice." in body and "127.0.0.1" in body
    desktop.click()
    wait_until(lambda: any("/#/request/" in url for url in phone.do("pages")), 10, "the notification opens the app")
    phone.opened()
    login.answer_code(phone.approve(phone.next_request()))
    assert login.finish() == 0
    assert login.lines()[-1] == "alice"
    assert stack.daemon.audit()[-1]["outcome"] == "granted"
    # The end is told on the same place, and goes away by itself.
    desktop.wait_shown("Approved", seconds=30)
    desktop.wait_count(0, seconds=30)
    ends = [one for one in push.pushes(status=201) if one["headers"]["ttl"] == "600"]
    assert ends and phone.problems() == []


def test_a_notification_has_open_and_deny_and_the_page_sees_it(parts, desktop):
    _, phone, client = parts
    login = ssh(client)
    desktop.wait_shown("alice wants to log in", seconds=30)
    phone.come_back()
    request = phone.next_request()
    (shown,) = phone.notifications()
    assert (shown["tag"], shown["actions"]) == (request["key"], ["open", "deny"])
    login.kill()


def test_deny_in_the_notification_denies_without_opening_the_app(parts, desktop):
    stack, phone, client = parts
    desktop.will_press("web-deny")
    login = ssh(client)
    desktop.wait_shown("alice wants to log in", seconds=30)
    desktop.click()
    desktop.wait_shown("Denied", seconds=30)
    assert not [url for url in phone.do("pages") if url.startswith(phone.origin)], "no page of the app was opened"
    login.answer_code("")
    assert login.finish() != 0
    assert any(record.get("outcome") == "denied" for record in stack.daemon.audit()), stack.daemon.audit()[-3:]
    desktop.wait_count(0, seconds=15)


def test_a_withdrawn_login_stops_ringing(parts, desktop):
    _, phone, client = parts
    login = ssh(client)
    desktop.wait_shown("alice wants to log in", seconds=30)
    login.kill()
    desktop.wait_shown("Withdrawn", seconds=30)
    # It stands on the place of the request, whose buttons are gone with it.
    desktop.wait_count(1)
    phone.come_back()
    (shown,) = phone.notifications()
    assert (shown["title"], shown["actions"]) == ("Withdrawn", [])


def test_what_is_pushed_opens_with_another_implementation(played, push):
    """The same push, for a browser whose keys another library holds (npm http_ece)."""
    keys = Keys()
    played.server.stop()
    with sqlite3.connect(played.server.database) as database:
        point, auth = (urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in (keys.p256dh, keys.auth))
        changed = database.execute("UPDATE subscriptions SET p256dh = ?, auth = ?", (point, auth)).rowcount
        assert changed == 1
    database.close()
    played.server.start()
    asked = played.host.ask(played.device)
    push_ = push.wait_pushes(1, status=201)[0]
    plain = keys.open(push_)
    length = int.from_bytes(plain[1:3], "big")
    envelope = json.loads(plain[3 : 3 + length])
    assert plain[0] == 1
    assert (envelope["type"], envelope["to"], envelope["id"]) == ("request", played.device.id, asked.id)
    assert len(plain[3 + length :]) == 32 + 3072 + 16
    # As docs/protocol.md has it: one length, urgent, of use as long as the request lives, one place.
    headers = push_["headers"]
    assert headers["content-length"] == "4096"
    assert (headers["urgency"], headers["topic"]) == ("high", played.topic(asked))
    assert headers["content-encoding"] == "aes128gcm"
    assert 50 <= int(headers["ttl"]) <= 60
    assert push_["claims"]["aud"] == push.origin
    assert push_["http"] == "2.0"


@pytest.mark.quiet
def test_faults_of_the_push_service_delay_a_ring_and_lose_none(played, push):
    faults = {
        "erin": [{"status": 503}],
        "fred": [{"status": 429, "retryAfter": 2}],
        "gina": [{"drops": True}],
        "hugo": [{"delay": 1500}],
        "ines": [{"status": 500}, {"status": 502}],
        "jens": [{"hangs": True}],
    }
    for user, plan in faults.items():
        push.plan(*plan)
        before = time.monotonic()
        asked = played.host.ask(played.device, user=user)
        # The host never waits for a push service.
        assert time.monotonic() - before < 1
        played.wait_shown(asked, seconds=20)
        waited = time.monotonic() - before
        least, most = {"fred": (2, 6), "hugo": (1.4, 5), "jens": (9, 18)}.get(user, (0, 6))
        assert least <= waited <= most, f"{user}: {waited:.1f} s"
        assert len(played.shown(asked)) == 1
        played.close(asked)
    assert played.subscribed()


def test_a_request_that_ends_while_the_push_service_is_down_rings_nobody(played, push):
    push.plan({"status": 503, "retryAfter": 2})
    asked = played.host.ask(played.device, user="kora")
    push.wait_pushes(1, status=503)
    played.host.close(played.device, asked, "withdrawn")
    wait_until(lambda: played.answers("superseded") == 1, 5, "the request is not pushed any more")
    time.sleep(3)
    assert played.shown(asked) == [] and push.pushes(status=201) == []


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_over_is_forgotten_and_made_anew_in_the_app(played, push, status):
    push.plan({"status": status})
    played.host.ask(played.device, user="lars")
    wait_until(lambda: played.answers("gone") == 1, 10, "the push service's word is taken")
    assert not played.subscribed()
    played.host.ask(played.device, user="mona")
    time.sleep(1)
    assert len(push.pushes()) == 1, "it is not tried again"
    # Nothing is lost: what nobody was rung for is in the app.
    phone = played.phone
    phone.come_back()
    wait_until(lambda: len(phone.requests()) == 2, 10, "both are in the app")


def test_requests_that_came_while_the_phone_was_off_ring_once_when_it_is_on(played, push):
    """The push service keeps them; of one register only the newest."""
    phone = played.phone
    phone.close()
    ended, open_ = (played.host.ask(played.device, user=user) for user in ("nora", "olaf"))
    push.wait_pushes(2, status=201)
    played.host.close(played.device, ended, "withdrawn")
    push.wait_pushes(3, status=201)
    phone.open()
    played.wait_shown(open_, seconds=20)
    time.sleep(1)
    assert played.shown(ended) == []


def test_an_alarm_rings_too(played, desktop):
    """A request that nobody signed is shown as what it is, and has no buttons."""
    home = played.server.directory / "stranger"
    home.mkdir()
    stranger = Key.new(home)
    played.host.ask(played.device, signature=stranger.sign(b"something else", "request@countersign.org"))
    title, _ = desktop.wait_shown("Something is wrong", seconds=30)
    assert title == "Something is wrong"
    played.phone.come_back()
    assert [shown["actions"] for shown in played.phone.notifications()] == [[]]
