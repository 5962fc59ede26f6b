"""The web approver, a real host, and a relay between them that cheats while they pair."""

import json

import pytest
from lab.forger import Key
from lab.hostile import Seen
from lab.pairing import PairingCommand
from lab.phone import Phone
from lab.process import wait_until
from test_pairing_relay import paired, relay, terminal  # noqa: F401


@pytest.fixture
def phone(relay):
    return Phone(relay.origin, "web phone")


def begin(phone, link):
    phone.open_link(link)
    phone.start_pairing()


def in_one_line(phone, terminal):
    """Types what the screen shows."""
    terminal.type(phone.pairing_code())
    phone.wait_for_step("done")
    assert terminal.finish() == 0


def refused(phone, relay, *faults):
    """The phone gives up, shows no code, trusts no host; and the host has not paired it."""
    phone.wait_for_step("failed")
    assert phone.fault() in faults
    assert phone.count(id="pairing-code") == 0
    phone.evaluate("() => { location.hash = '#/machines'; }")
    phone.wait_until("() => document.querySelector('main').dataset.page !== 'pair'")
    assert phone.count(id="machine") == 0
    assert "web phone" not in paired(relay)


def test_an_honest_relay_pairs(relay, terminal, phone):
    begin(phone, terminal.link)
    in_one_line(phone, terminal)
    assert paired(relay) == ["web phone"]


def test_a_relay_that_shows_its_own_host_key_is_refused(relay, terminal, phone):
    """It has even read the link; the link holds the true key's hash."""
    evil = Key.new(relay.directory)
    seen = Seen(terminal.opened()["ticket"])

    def changed(call, answer):
        if call.slot("GET") == "m2" and answer["mails"]:
            first = seen.open_first(relay.last("m1"), relay.key_hash)
            reveal = seen.open_second(answer["mails"][0], first)
            reveal["host"]["key"] = evil.line
            return {"mails": [seen.second(reveal, first)]}
        return answer

    relay.changed = changed
    begin(phone, terminal.link)
    refused(phone, relay, "contradiction")


def test_a_relay_that_swaps_the_phones_key_is_refused(relay, terminal, phone):
    """It has read the link, and gives the host a card of its own in place of the phone's."""
    evil = Key.new(relay.directory)
    seen = Seen(terminal.opened()["ticket"])

    def change(call):
        if call.slot("POST") == "m1":
            signed = json.loads(seen.open_first(call.mail(), relay.key_hash))
            card = json.loads(signed["card"])
            card["key"] = evil.line
            text = json.dumps(card)
            signature = evil.sign(text.encode(), "device@countersign.org")
            swapped = {"card": text, "signature": signature, "fresh": signed["fresh"]}
            call.body = json.dumps({"data": seen.first(json.dumps(swapped).encode(), relay.key_hash)}).encode()

    relay.change = change
    begin(phone, terminal.link)
    # The host has locked onto the swapped card; what it answers does not open for the phone, which shows no code.
    terminal.wait_for("answered")
    refused(phone, relay, "reveal")
    assert paired(relay) == []


def test_a_replayed_first_message_pairs_nobody(relay, terminal, phone):
    """m1 of an earlier pairing in the new mailbox: the host waits on, and pairs the phone that comes."""
    begin(phone, terminal.link)
    in_one_line(phone, terminal)
    replayed = relay.last("m1")
    again = PairingCommand("alice", options=["--no-ring"])
    mailbox = Seen(again.opened()["ticket"]).mailbox
    status, _ = relay.upstream("POST", f"/v1/mailboxes/{mailbox}/m1", json.dumps({"data": replayed}))
    assert status < 300
    wait_until(lambda: "was not made for this pairing" in relay.daemon.process.log(), 10, "the host passes it over")
    assert again.event("answered") is None
    second = Phone(relay.origin, "second")
    begin(second, again.link)
    in_one_line(second, again)
    assert paired(relay) == ["web phone", "second"]


def test_a_thief_who_answers_first_gets_no_code_from_the_phone(relay, terminal, phone):
    """Somebody has seen the link, and the relay holds the phone back until that one is locked in."""
    thief = Phone(relay.origin, "thief")

    def change(call):
        if call.slot("POST") == "m1" and relay.mails[0][2] != call.mail():
            # It pretends to take the second one.
            call.answer = (201, {})

    relay.change = change
    begin(thief, terminal.link)
    thief.pairing_code()
    begin(phone, terminal.link)
    refused(phone, relay, "reveal", "taken")
    # And the terminal names a device that its person does not hold.
    assert terminal.wait_for("answered")["name"] == "thief"
    assert paired(relay) == []


def test_the_answer_of_another_pairing_is_refused(relay, terminal, phone):
    first = Phone(relay.origin, "first")
    begin(first, terminal.link)
    first.pairing_code()
    other = relay.last("m2")
    terminal.stop()
    relay.changed = lambda call, answer: {"mails": [other]} if call.slot("GET") == "m2" and answer["mails"] else answer
    again = PairingCommand("alice", options=["--no-ring"])
    try:
        begin(phone, again.link)
        refused(phone, relay, "reveal")
    finally:
        again.stop()
