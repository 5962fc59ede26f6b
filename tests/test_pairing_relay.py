"""Pairing through a relay that cheats: whatever it does, nobody is paired with somebody else.

The device is the native approver; docs/protocol.md section 6 is what stands against each of these.
"""

import base64
import json
import subprocess
import time

import pytest
from lab.approver import Approver
from lab.daemon import Daemon
from lab.fake_host import url64
from lab.forger import Key, blob_of, envelope, key_id, seal, sha256
from lab.hostile import HostileRelay, Seen
from lab.pairing import PairingCommand
from lab.process import wait_until
from lab.server import Server


@pytest.fixture
def relay(tmp_path, clean):
    """The relay, a host that has joined through it, and what belongs to them."""
    relay = HostileRelay(Server(tmp_path / "server"))
    relay.directory = tmp_path
    relay.daemon = Daemon(tmp_path / "daemon", relay.origin).start()
    relay.daemon.join(relay.server.token())
    relay.key_hash = sha256(blob_of(host_key(relay)))
    yield relay
    relay.stop()


@pytest.fixture
def terminal(relay):
    """`countersign pair alice` at the host."""
    command = PairingCommand("alice", options=["--no-ring"])
    yield command
    command.stop()


@pytest.fixture
def phone(relay):
    phone = Approver(relay.directory / "phone", "phone")
    yield phone
    phone.stop()


def host_key(relay):
    """The host's public key as one OpenSSH line."""
    file = relay.daemon.state / "host_key"
    line = subprocess.run(["ssh-keygen", "-y", "-f", file], check=True, capture_output=True, text=True).stdout
    return " ".join(line.split()[:2])


def paired(relay):
    return [device["name"] for device in relay.daemon.command("devices", "alice")["devices"]]


def pinned(phone):
    file = phone.home / "hosts.json"
    return json.loads(file.read_text()) if file.exists() else []


def ends(phone, text):
    """The device gives up, says why, and trusts no host."""
    wait_until(lambda: not phone.alive(), 10, f"the approver ends; it said:\n{phone.said()}")
    assert text in phone.said()
    assert not phone.all("paired")
    assert pinned(phone) == []


def in_one_line(phone, terminal):
    """Types what the device shows."""
    code = phone.wait_for("pairing-code")["code"]
    terminal.type(code)


def test_an_honest_relay_pairs_by_link_and_by_ticket(relay, terminal, phone):
    """The control for all that follows."""
    phone.start("--pair", terminal.link, "--name", "phone")
    in_one_line(phone, terminal)
    assert terminal.finish() == 0
    phone.wait_for("paired")
    phone.stop()
    again = PairingCommand("alice", options=["--no-ring"])
    typed = again.opened()["ticket"].upper().replace("-", " ").replace("0", "O")
    other = Approver(relay.directory / "other", "other")
    other.start("--pair", typed, "--server", relay.origin, "--name", "other")
    in_one_line(other, again)
    assert again.finish() == 0
    other.wait_for("paired")
    other.stop()
    assert paired(relay) == ["phone", "other"]
    assert pinned(phone)[0]["key"] == pinned(other)[0]["key"] == host_key(relay)


def test_a_swapped_host_in_the_mailbox_info_keeps_them_apart(relay, terminal, phone):
    """A typed ticket holds no key: the relay names another host's, and what the device says fits no host."""
    evil = Key.new(relay.directory)

    def changed(call, answer):
        return {"host": key_id(evil.line)} if call.slot("GET") == "info" else answer

    relay.changed = changed
    phone.start("--pair", terminal.opened()["ticket"], "--server", relay.origin, "--name", "phone")
    wait_until(lambda: "was not made for this pairing" in relay.daemon.process.log(), 10, "the host passes it over")
    assert not phone.all("pairing-code")
    assert terminal.event("answered") is None
    assert paired(relay) == [] and pinned(phone) == []


def test_a_relay_that_has_seen_the_ticket_and_shows_its_own_host_key_shows_another_code(relay, terminal, phone):
    """It sits between both, opens and remakes every message; what the device shows is not the host's code."""
    evil = Key.new(relay.directory)
    evil_hash = sha256(blob_of(evil.line))
    seen = Seen(terminal.opened()["ticket"])
    opened = {}

    def change(call):
        if call.slot("POST") == "m1":
            opened["m1"] = seen.open_first(call.mail(), evil_hash)
            call.body = json.dumps({"data": seen.first(opened["m1"], relay.key_hash)}).encode()

    def changed(call, answer):
        if call.slot("GET") == "info":
            return {"host": url64(evil_hash)}
        if call.slot("GET") == "m2" and answer["mails"]:
            reveal = seen.open_second(answer["mails"][0], opened["m1"])
            reveal["host"]["key"] = " ".join(evil.line.split()[:2])
            return {"mails": [seen.second(reveal, opened["m1"])]}
        return answer

    relay.change, relay.changed = change, changed
    phone.start("--pair", terminal.opened()["ticket"], "--server", relay.origin, "--name", "phone")
    code = phone.wait_for("pairing-code")["code"]
    for _ in range(3):
        terminal.type(code)
    assert terminal.finish() == 1
    assert len([event for event in terminal.events if event["event"] == "wrong"]) == 3
    assert paired(relay) == []
    ends(phone, "this pairing is over")


def test_its_own_host_key_in_the_answer_to_a_link_is_refused(relay, terminal, phone):
    """The link holds the key's hash: even who has read the link cannot put another key in its place."""
    evil = Key.new(relay.directory)
    seen = Seen(terminal.opened()["ticket"])

    def changed(call, answer):
        if call.slot("GET") == "m2" and answer["mails"]:
            first = seen.open_first(relay.last("m1"), relay.key_hash)
            reveal = seen.open_second(answer["mails"][0], first)
            reveal["host"]["key"] = " ".join(evil.line.split()[:2])
            return {"mails": [seen.second(reveal, first)]}
        return answer

    relay.changed = changed
    phone.start("--pair", terminal.link, "--name", "phone")
    ends(phone, "contradicts the link")
    assert not phone.all("pairing-code")
    assert paired(relay) == []


def test_the_answer_of_another_pairing_is_refused(relay, terminal, phone):
    """m2 swapped for the one that the host gave to somebody else."""
    first = Approver(relay.directory / "first", "first")
    first.start("--pair", terminal.link, "--name", "first")
    first.wait_for("pairing-code")
    first.stop()
    terminal.stop()
    other = relay.last("m2")

    def changed(call, answer):
        return {"mails": [other]} if call.slot("GET") == "m2" and answer["mails"] else answer

    relay.changed = changed
    again = PairingCommand("alice", options=["--no-ring"])
    phone.start("--pair", again.link, "--name", "phone")
    ends(phone, "does not fit this pairing")
    assert not phone.all("pairing-code")
    again.stop()
    assert paired(relay) == []


def test_a_first_message_of_an_earlier_pairing_is_passed_over(relay, terminal, phone):
    """Replayed into the new mailbox before the device comes: the host waits on, and pairs the one that comes."""
    old = Approver(relay.directory / "old", "old")
    old.start("--pair", terminal.link, "--name", "old")
    in_one_line(old, terminal)
    assert terminal.finish() == 0
    old.wait_for("paired")
    old.stop()
    replayed = relay.last("m1")
    again = PairingCommand("alice", options=["--no-ring"])
    again.opened()
    mailbox = Seen(again.opened()["ticket"]).mailbox
    status, _ = relay.upstream("POST", f"/v1/mailboxes/{mailbox}/m1", json.dumps({"data": replayed}))
    assert status < 300
    wait_until(lambda: "was not made for this pairing" in relay.daemon.process.log(), 10, "the host passes it over")
    assert again.event("answered") is None
    phone.start("--pair", again.link, "--name", "phone")
    in_one_line(phone, again)
    assert again.finish() == 0
    phone.wait_for("paired")
    assert paired(relay) == ["old", "phone"]


def test_a_relay_that_answers_first_with_its_own_card_shows_no_code(relay, terminal, phone):
    """It has seen the link, and holds the device back until its own card is locked in. The device hears so; what is at
    the host's terminal names a device that its person does not hold, and has no code."""
    thief = Approver(relay.directory / "thief", "thief")

    def change(call):
        if call.slot("POST") == "m1" and relay.mails[0][2] != call.mail():
            # It pretends to take the second one.
            call.answer = (201, {})

    relay.change = change
    thief.start("--pair", terminal.link, "--name", "thief")
    thief.wait_for("pairing-code")
    phone.start("--pair", terminal.link, "--name", "phone")
    ends(phone, "does not fit this pairing")
    assert not phone.all("pairing-code")
    assert terminal.wait_for("answered")["name"] == "thief"
    terminal.stop()
    thief.stop()
    assert paired(relay) == []


def test_a_receipt_of_another_pairing_is_refused(relay, terminal, phone):
    """m3 swapped for the real one of an earlier pairing of the same device and host: the host is not pinned by it."""
    phone.start("--pair", terminal.link, "--name", "phone")
    in_one_line(phone, terminal)
    assert terminal.finish() == 0
    phone.wait_for("paired")
    phone.stop()
    before = pinned(phone)
    old = relay.last("m3")

    def changed(call, answer):
        return {"mails": [old]} if call.slot("GET") == "m3" and answer["mails"] else answer

    relay.changed = changed
    again = PairingCommand("bob", options=["--no-ring"])
    phone.events.clear()
    phone.start("--pair", again.link)
    in_one_line(phone, again)
    assert again.finish() == 0
    wait_until(lambda: not phone.alive(), 10, f"the approver ends; it said:\n{phone.said()}")
    assert "the pairing receipt" in phone.said()
    assert not phone.all("paired") and pinned(phone) == before


@pytest.mark.parametrize("sealed_as", ["host", "relay"])
def test_a_receipt_by_the_relays_own_key_is_refused(relay, terminal, phone, sealed_as):
    """It has read the ticket, and so knows what the receipt must say and whom to seal it to; it lacks the host's key."""
    evil = Key.new(relay.directory)
    seen = Seen(terminal.opened()["ticket"])
    forged = []

    def changed(call, answer):
        if call.slot("GET") != "m3" or not answer["mails"]:
            return answer
        first = seen.open_first(relay.last("m1"), relay.key_hash)
        reveal = seen.open_second(relay.last("m2"), first)
        card = json.loads(first)["card"]
        fields = json.loads(card)
        real = json.loads(json.loads(relay.last("m3"))["envelope"])
        body = json.dumps(
            {"version": 1, "host": reveal["host"], "user": "alice", "card": sha256(card.encode()).hex(), "paired_at": 1}
        ).encode()
        signature = evil.sign(body, "paired@countersign.org")
        about = envelope("receipt", real["from"], real["to"], seen.mailbox)
        sender = evil.line if sealed_as == "relay" else reveal["host"]["key"]
        recipient = base64.b64decode(fields["seal"])
        forged.append(seal("receipt", sender, recipient, sha256(card.encode()), about, body, signature))
        return {"mails": [json.dumps(forged[-1])]}

    relay.changed = changed
    phone.start("--pair", terminal.link, "--name", "phone")
    in_one_line(phone, terminal)
    assert terminal.finish() == 0
    ends(phone, "another key" if sealed_as == "host" else "does not open")
    assert len(forged) == 1


@pytest.mark.parametrize("slot", ["m1", "m2"])
def test_dropped_messages_only_make_it_wait(relay, terminal, phone, slot):
    def change(call):
        if slot == "m1" and call.slot("POST") == "m1":
            call.answer = (201, {})

    def changed(call, answer):
        return {"mails": []} if slot == "m2" and call.slot("GET") == "m2" else answer

    relay.change, relay.changed = change, changed
    phone.start("--pair", terminal.link, "--name", "phone")
    wait_until(lambda: any(put == "m1" for put, _, _ in relay.mails), 10, "the device answers")
    time.sleep(2)
    assert not phone.all("pairing-code") and terminal.alive()
    assert paired(relay) == [] and pinned(phone) == []


def test_a_receipt_that_is_held_back_pins_nothing_until_it_comes(relay, terminal, phone):
    """The host has paired by then; the device trusts it when it hears so, and not before."""

    def changed(call, answer):
        return {"mails": []} if call.slot("GET") == "m3" else answer

    relay.changed = changed
    phone.start("--pair", terminal.link, "--name", "phone")
    in_one_line(phone, terminal)
    assert terminal.finish() == 0
    assert paired(relay) == ["phone"]
    time.sleep(1)
    assert not phone.all("paired") and pinned(phone) == []
    relay.honest()
    phone.wait_for("paired")
    assert pinned(phone)[0]["key"] == host_key(relay)
