"""Without a network: the app opens from its cache, and gives codes."""

import hmac
import os
import struct
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from lab.browser import Browser
from lab.forger import Key, blob_of, raw, sha256
from lab.phone import digits
from test_web_alarm import Parts

ACTIVE = "() => navigator.serviceWorker.ready.then((registration) => registration.active?.state === 'activated')"


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


class Challenge:
    """What a host without a network shows on the terminal, and the code that it expects: from docs, not from the app."""

    def __init__(self, host_key, device, service="sshd", user="alice", address="192.0.2.7", ttl=120, **changed):
        self.private = changed.get("private") or X25519PrivateKey.generate()
        public = changed.get("public") or raw(self.private.public_key())
        blob = blob_of(host_key)
        self.bytes = bytes([changed.get("version", 1)]) + sha256(blob)[:16] + public
        self.bytes += struct.pack(">IB", changed.get("time", int(time.time())), ttl)
        for text in (service, user, address):
            self.bytes += bytes([len(text.encode())]) + text.encode()
        assert len(self.bytes) <= 106 or changed.get("long")
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(device.seal))
        info = b"countersign phone code v1" + device.card_hash + sha256(blob)
        key = HKDF(SHA256(), 32, None, info).derive(shared)
        number = int.from_bytes(hmac.digest(key, self.bytes, "sha256")[:8], "big")
        self.code = f"{number % 10**8:08d}"

    def picture(self, directory):
        file = directory / f"{os.urandom(4).hex()}.gif"
        Browser.shared().call("", "drawQR", hex=self.bytes.hex(), file=str(file))
        return file


def show(phone, file):
    """Gives the phone a photo of the terminal."""
    phone.evaluate("() => { location.hash = '#/code'; }")
    phone.wait_for(css="[data-testid=page][data-page=code]")
    phone.choose_file(file, id="photo")


def code_of(phone):
    phone.click(id="code-approve")
    phone.wait_for(id="phone-code")
    return digits(phone.text(id="phone-code"))


def test_the_app_opens_from_its_cache_without_a_network(parts):
    phone = parts.phone
    phone.wait_until(ACTIVE)
    parts.server.stop()
    phone.offline()
    phone.reload()
    phone.wait_for(css="[data-testid=page][data-page=inbox]")
    phone.wait_until("() => document.querySelector('[data-testid=connection]').dataset.state === 'offline'", seconds=20)
    for page in ("machines", "devices", "settings", "history", "code"):
        phone.evaluate("(page) => { location.hash = `#/${page}`; }", page)
        phone.wait_for(css=f"[data-testid=page][data-page={page}]")
    # And goes on when there is one again.
    parts.server.start()
    phone.offline(False)
    phone.inbox()
    asked = parts.host.ask(parts.device)
    assert phone.next_request(seconds=20)["id"] == asked.id


def test_the_terminals_code_gives_eight_digits_without_a_network(parts):
    phone, challenge = parts.phone, Challenge(parts.host.key.line, parts.device)
    phone.wait_until(ACTIVE)
    phone.offline()
    phone.reload()
    show(phone, challenge.picture(parts.directory))
    phone.wait_for(id="challenge")
    shown = phone.text(id="challenge")
    for what in ("db-1", "alice", "sshd", "192.0.2.7"):
        assert what in shown
    # Nothing is given away before it was approved.
    assert phone.count(id="phone-code") == 0
    assert code_of(phone) == challenge.code


def test_a_yes_that_cannot_be_sent_shows_eight_digits_in_its_place(parts):
    phone = parts.phone
    asked = parts.host.ask(parts.device)
    request = phone.next_request()
    parts.server.stop()
    phone.offline()
    phone.wait_until("() => document.querySelector('[data-testid=connection]').dataset.state === 'offline'", seconds=20)
    phone.decide(request, "approve")
    phone.wait_for(id="unsent-code")
    # The same from docs: the request's key and digest in place of a challenge's.
    shared = asked.private.exchange(X25519PublicKey.from_public_bytes(parts.device.seal))
    info = b"countersign request code v1" + parts.device.card_hash + sha256(blob_of(parts.host.key.line))
    key = HKDF(SHA256(), 32, None, info).derive(shared)
    number = int.from_bytes(hmac.digest(key, sha256(asked.body).hex().encode(), "sha256")[:8], "big")
    assert digits(phone.text(id="unsent-code")) == f"{number % 10**8:08d}"


def test_what_was_altered_gives_another_code(parts):
    challenge = Challenge(parts.host.key.line, parts.device)
    altered = Challenge(parts.host.key.line, parts.device, user="mallory", private=challenge.private)
    show(parts.phone, altered.picture(parts.directory))
    parts.phone.wait_for(id="challenge")
    assert code_of(parts.phone) == altered.code != challenge.code


def test_a_challenge_of_another_host_gets_no_code(parts, tmp_path):
    show(parts.phone, Challenge(Key.new(tmp_path).line, parts.device).picture(parts.directory))
    parts.phone.wait_until("() => !document.querySelector('[data-testid=challenge]') && /\\w/.test(document.querySelector('main').innerText)")
    assert parts.phone.count(id="code-approve") == 0
    assert parts.phone.count(id="phone-code") == 0


def test_an_expired_challenge_gets_no_code(parts):
    old = Challenge(parts.host.key.line, parts.device, time=int(time.time()) - 3600, ttl=60)
    show(parts.phone, old.picture(parts.directory))
    parts.phone.wait_for(id="challenge")
    assert parts.phone.count(id="code-approve") == 0


def test_a_key_with_which_everybody_agrees_gets_no_code(parts):
    """The all-zero point: whoever takes part would compute the same secret."""
    challenge = Challenge(parts.host.key.line, parts.device, public=bytes(32))
    show(parts.phone, challenge.picture(parts.directory))
    parts.phone.wait_until("() => document.querySelector('[data-testid=challenge], [data-testid=fault]')")
    if parts.phone.count(id="code-approve"):
        parts.phone.click(id="code-approve")
    parts.phone.wait_until("() => document.querySelector('[data-testid=fault]')")
    assert parts.phone.count(id="phone-code") == 0


def test_a_picture_of_something_else_says_so(parts):
    file = parts.directory / "other.gif"
    Browser.shared().call("", "drawQR", hex=b"https://example.com/".hex(), file=str(file))
    show(parts.phone, file)
    parts.phone.wait_until("() => document.querySelector('[data-testid=fault]')")
    assert parts.phone.fault() == "not-a-challenge"
