"""What must not happen is an alarm on the screen, with nothing to approve."""

import os

import pytest
from lab.fake_host import FakeHost
from lab.forger import Key
from lab.page import settled
from lab.phone import Phone
from lab.server import Server


class Parts:
    """A phone that has paired with a host which the test plays."""

    def __init__(self, directory):
        self.directory = directory
        self.server = Server(directory / "server")
        self.host = FakeHost(directory / "host", self.server, "db-1")
        self.phone = Phone(self.server.origin)
        self.device = pair(self.phone, self.host)


def pair(phone, host, user="alice"):
    pairing = host.pairing(user)
    phone.open_link(pairing.link)
    phone.start_pairing()
    pairing.first()
    code = pairing.second()
    assert phone.pairing_code() == code
    device = pairing.third()
    phone.wait_for_step("done")
    phone.inbox()
    return device


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def alarmed(phone, reason):
    phone.wait_for(id="alarm")
    assert phone.alarms() == [reason]
    assert phone.requests() == []
    assert phone.count(id="approve") == 0


def still_works(parts):
    """The control: a request in order from the same host is shown and answered."""
    asked = parts.host.ask(parts.device)
    request = parts.phone.next_request()
    assert request["id"] == asked.id
    code = parts.phone.approve(request)
    answer = parts.host.answer(parts.device, asked)
    assert (answer["decision"], answer["code"], answer["request"]) == ("approve", code, asked.digest.hex())


def test_a_request_in_order_is_no_alarm(parts):
    still_works(parts)
    assert parts.phone.alarms() == []


def test_a_request_that_somebody_else_signed_is_an_alarm(parts):
    stranger = Key.new(parts.directory)
    body = b'{"version":1}'
    parts.host.post("request", parts.device, os.urandom(16).hex(), body, stranger.sign(body, "request@countersign.org"))
    alarmed(parts.phone, "bad-signature")
    still_works(parts)


def test_a_request_with_a_signature_for_something_else_is_an_alarm(parts):
    """The host did sign these bytes, in another namespace."""
    body = b'{"version":1}'
    parts.host.post("request", parts.device, os.urandom(16).hex(), body, parts.host.key.sign(body, "paired@countersign.org"))
    alarmed(parts.phone, "bad-signature")
    still_works(parts)


def test_a_request_of_a_host_that_was_never_paired_is_an_alarm(parts):
    """It knows the phone's card from somewhere, and has the server deliver to it."""
    other = FakeHost(parts.directory / "other", parts.server, "stranger")
    other.link(parts.device)
    other.ask(parts.device)
    alarmed(parts.phone, "unknown-host")
    still_works(parts)


def test_a_request_that_names_another_host_than_its_signer_is_an_alarm(parts):
    other = Key.new(parts.directory)
    parts.host.ask(parts.device, host={"name": "db-1", "key": other.line})
    alarmed(parts.phone, "wrong-host")
    still_works(parts)


def test_one_id_for_two_requests_is_an_alarm(parts):
    first = parts.host.ask(parts.device)
    parts.phone.next_request()
    parts.host.ask(parts.device, id=first.id, service="sudo", kind="command", command="rm -rf /")
    parts.phone.wait_for(id="alarm")
    assert parts.phone.alarms() == ["two-requests"]
    # The first one stays what it was.
    assert [card["rows"]["service"] for card in parts.phone.requests()] == ["sshd"]


def test_the_end_of_another_request_ends_nothing(parts):
    asked = parts.host.ask(parts.device)
    request = parts.phone.next_request()
    parts.host.close(parts.device, asked, "withdrawn", request="00" * 32)
    parts.phone.wait_for(id="alarm")
    assert parts.phone.alarms() == ["other-request-closed"]
    assert parts.phone.card(request)["phase"] == "open"


def test_an_end_that_somebody_else_signed_ends_nothing(parts):
    asked = parts.host.ask(parts.device)
    request = parts.phone.next_request()
    parts.host.close(parts.device, asked, "approved", signature=Key.new(parts.directory).sign(b"x", "closed@countersign.org"))
    parts.phone.wait_for(id="alarm")
    assert parts.phone.alarms() == ["bad-signature"]
    assert parts.phone.card(request)["phase"] == "open"


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"kind": "party"},
        {"confirm": "nothing"},
        {"reply_key": "AAAA"},
        {"expires_in": 100_000},
        {"user": ""},
        {"approvals": None},
        {"id": "../../x"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_damaged_request_offers_nothing_to_approve(parts, fields):
    """Signed by the host itself, but not as the protocol says."""
    body_id = os.urandom(16).hex()
    fields = {"id": body_id, **fields}
    asked = fields.pop("id")
    try:
        parts.host.ask(parts.device, id=asked, **fields)
    except Exception:
        # The server may refuse it already.
        pass
    settled(parts.phone, 0.5)
    assert parts.phone.requests() == []
    assert not set(parts.phone.alarms()) - {"damaged", "wrong-envelope"}
    still_works(parts)


def test_an_alarm_can_be_put_away_and_has_no_approve(parts):
    body = b'{"version":1}'
    parts.host.post("request", parts.device, os.urandom(16).hex(), body, "")
    parts.phone.wait_for(id="alarm")
    parts.phone.click(id="dismiss-alarm")
    parts.phone.wait_until("() => !document.querySelector('[data-testid=alarm]')")


def test_a_request_that_is_over_never_comes_back(parts):
    """Replayed by the host, or by the server in its name, after it was closed."""
    asked = parts.host.ask(parts.device)
    request = parts.phone.next_request()
    parts.host.close(parts.device, asked, "withdrawn")
    parts.phone.wait_closed(request)
    signature = parts.host.key.sign(asked.body, "request@countersign.org")
    parts.host.post("request", parts.device, asked.id, asked.body, signature)
    settled(parts.phone, 0.7)
    assert parts.phone.requests() == []
    parts.phone.reload()
    parts.phone.connected()
    settled(parts.phone, 0.5)
    assert parts.phone.requests() == []
