"""Pairing the web approver where somebody cheats: it pins nobody, and says why."""

import base64
import json
import os

import pytest
from lab.fake_host import FakeHost
from lab.forger import Key
from lab.page import settled
from lab.pairing import PairingCommand
from lab.phone import Phone
from lab.server import Server


class Parts:
    """A phone whose page asks to pair with a host that the test plays."""

    def __init__(self, directory):
        self.directory = directory
        self.server = Server(directory / "server")
        self.host = FakeHost(directory / "host", self.server, "db-1")
        self.phone = Phone(self.server.origin)
        self.pairing = self.host.pairing("alice")

    def begin(self):
        self.phone.open_link(self.pairing.link)
        self.phone.start_pairing()
        return self.pairing.first()

    def refused(self, *faults):
        self.phone.wait_for_step("failed")
        assert self.phone.fault() in faults
        self.pinned_nobody()

    def pinned_nobody(self):
        self.phone.evaluate("() => { location.hash = '#/machines'; }")
        settled(self.phone)
        assert self.phone.count(id="machine") == 0


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def test_the_control_an_honest_host_is_pinned(parts):
    parts.begin()
    assert parts.pairing.second() == parts.phone.pairing_code()
    parts.pairing.third()
    parts.phone.wait_for_step("done")


def test_a_host_key_that_is_not_the_links_is_refused(parts):
    """Whoever has seen the link answers with a host of their own."""
    parts.begin()
    parts.pairing.second(host={"name": "db-1", "key": Key.new(parts.directory).line})
    parts.refused("contradiction")


def test_a_secret_that_is_not_the_links_is_refused(parts):
    parts.begin()
    parts.pairing.second(n=base64.b64encode(os.urandom(32)).decode())
    parts.refused("contradiction")


def test_a_swapped_device_key_is_refused(parts):
    """The host was shown another card than this phone's: its answer does not fit."""
    signed = parts.begin()
    swapped = json.loads(signed["card"])
    swapped["key"] = Key.new(parts.directory).line
    parts.pairing.second(over=json.dumps({**signed, "card": json.dumps(swapped)}).encode())
    parts.refused("reveal")


def test_an_answer_that_came_before_the_question_is_refused(parts):
    """The relay cannot know what to say, but may say it first."""
    parts.pairing.put("m2", base64.b64encode(os.urandom(200)).decode())
    parts.phone.open_link(parts.pairing.link)
    parts.phone.start_pairing()
    parts.refused("reveal", "taken", "mailbox-full")


def test_another_phones_first_message_again_does_not_get_this_one_paired(parts):
    """m1 of somebody who was first, replayed: this phone is told that the link is taken, or that nothing fits."""
    first = Phone(parts.server.origin, "first")
    first.open_link(parts.pairing.link)
    first.start_pairing()
    parts.pairing.first()
    parts.pairing.second()
    first.pairing_code()
    parts.phone.open_link(parts.pairing.link)
    parts.phone.start_pairing()
    parts.refused("reveal", "taken")
    # The first one's pairing is not disturbed.
    parts.pairing.third()
    first.wait_for_step("done")


@pytest.mark.parametrize(
    "fields",
    [{"user": "root"}, {"card": "00" * 32}, {"host": {"name": "other", "key": "ssh-ed25519 AAAA"}}, {"version": 2}],
    ids=["user", "card", "host", "version"],
)
def test_a_receipt_for_something_else_is_refused(parts, fields):
    parts.begin()
    parts.pairing.second()
    parts.phone.pairing_code()
    parts.pairing.third(**fields)
    parts.refused("receipt")


def test_a_receipt_that_the_host_did_not_sign_is_refused(parts):
    parts.begin()
    parts.pairing.second()
    parts.phone.pairing_code()
    parts.pairing.third(signer=Key.new(parts.directory))
    parts.refused("receipt")


def test_a_relay_that_names_its_own_host_for_a_typed_ticket_is_refused(parts):
    """A ticket holds no host key; the relay is asked whose mailbox it is, and lies."""
    phone = Phone(parts.server.origin)
    phone.do("fulfil", url=f"{parts.server.origin}/v1/mailboxes/{parts.pairing.mailbox}", json={"host": "A" * 43})
    phone.goto(parts.server.origin)
    phone.fill(parts.pairing.typed, id="ticket")
    phone.click(id="ticket-go")
    phone.wait_for_step("ready")
    phone.start_pairing()
    # What the phone sends is bound to the key that was named: the true host cannot even read it.
    with pytest.raises(Exception):
        parts.pairing.first(seconds=5)
    settled(phone, 0.5)
    assert phone.step() in ("sending", "waiting", "failed")
    parts.phone = phone


def test_the_real_daemon_takes_the_first_phone_only(stack):
    """And the second one is told so, while the first goes on."""
    host = PairingCommand("alice")
    try:
        first, second = Phone(stack.server.origin, "first"), Phone(stack.server.origin, "second")
        first.open_link(host.link)
        first.start_pairing()
        code = first.pairing_code()
        second.open_link(host.link)
        second.start_pairing()
        second.wait_for_step("failed")
        assert second.fault() in ("taken", "reveal")
        host.type(code)
        first.wait_for_step("done")
        first.answer_test_ring(host)
        assert host.finish() == 0
    finally:
        host.stop()
    assert [device["name"] for device in stack.daemon.command("devices", "alice")["devices"]] == ["first"]
