"""A host that says what a test wants: a second implementation of docs/protocol.md's host, in the lines that tests need.

It really joins and really pairs; what it then asks need not be true, nor in order.
"""

import base64
import hmac
import json
import os
import subprocess
import tempfile
import time
import urllib.error
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .forger import Key, Relay, blob_of, envelope, key_id, raw, seal, sha256, unseal
from .process import wait_until

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def expand(secret, label):
    return HKDF(SHA256(), 16, None, label).derive(secret)


def typed_ticket(secret):
    """The ticket as the terminal shows it for typing."""
    number = int.from_bytes(secret, "big") << 2
    digits = "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
    return "-".join((digits[:5], digits[5:10], digits[10:15], digits[15:20], digits[20:]))


class Pairing:
    """One pairing at the host."""

    def __init__(self, host, user):
        self.host = host
        self.user = user
        self.number = os.urandom(32)
        self.secret = sha256(b"countersign pair v1" + self.number)[:16]
        self.mailbox = expand(self.secret, b"mailbox").hex()
        self.key_hash = sha256(blob_of(host.key.line))
        self.link = f"{host.relay.origin}/pair#1.{url64(self.secret)}.{url64(self.key_hash)}"
        self.typed = typed_ticket(self.secret)
        host.call("PUT", f"/v1/mailboxes/{self.mailbox}")
        self.plaintext = None

    def first(self, seconds=15):
        """Waits for m1 and opens it: the device's signed card."""

        def arrived():
            return self.host.call("GET", f"/v1/mailboxes/{self.mailbox}/m1?after=0&wait=1")["mails"]

        mail = base64.b64decode(wait_until(arrived, seconds, "the phone's first message")[0])
        bound = bytes.fromhex(self.mailbox) + self.key_hash
        self.plaintext = AESGCM(expand(self.secret, b"card")).decrypt(mail[:12], mail[12:], bound)
        return json.loads(self.plaintext)

    def second(self, over=None, **fields):
        """Answers m1 (or `over`, another plaintext); fields replace what it reveals. Returns the pairing code."""
        reveal = {
            "version": 1,
            "n": base64.b64encode(self.number).decode(),
            "host": {"name": self.host.name, "key": self.host.key.line},
            "user": self.user,
            **fields,
        }
        nonce, first = os.urandom(12), sha256(over or self.plaintext)
        mail = nonce + AESGCM(expand(self.secret, b"reveal")).encrypt(nonce, json.dumps(reveal).encode(), first)
        self.put("m2", base64.b64encode(mail).decode())
        tag = hmac.digest(self.number, b"countersign pair code v1" + self.key_hash + first, "sha256")
        return f"{int.from_bytes(tag[:8], 'big') % 10**6:06d}"

    def third(self, signer=None, **fields):
        """The receipt; from here on the device is the host's."""
        signed = json.loads(self.plaintext)
        device = Device(signed, self.user)
        receipt = {
            "version": 1,
            "host": {"name": self.host.name, "key": self.host.key.line},
            "user": self.user,
            "card": device.card_hash.hex(),
            "paired_at": int(time.time()),
            **fields,
        }
        body = json.dumps(receipt).encode()
        signature = (signer or self.host.key).sign(body, "paired@countersign.org")
        self.put("m3", json.dumps(self.host.sealed("receipt", device, self.mailbox, body, signature)))
        return device

    def put(self, slot, data):
        self.host.call("PUT", f"/v1/mailboxes/{self.mailbox}/{slot}", {"data": data})


def some_key_id(name):
    """The key id of a device that is nowhere."""
    return url64(sha256(name.encode()))


LIST_STEP = 16 * 1024


class List:
    """A list that belongs to a request: what the request says of it, and its encrypted form."""

    def __init__(self, text):
        self.text, self.number, key = text.encode(), os.urandom(16).hex(), os.urandom(16)
        self.described = {
            "sha256": sha256(self.text).hex(),
            "bytes": len(self.text),
            "lines": len(text.removesuffix("\n").split("\n")),
            "key": base64.b64encode(key).decode(),
        }
        padded = self.text.ljust(-(-len(self.text) // LIST_STEP) * LIST_STEP, b"\0")
        nonce = os.urandom(12)
        self.sealed = nonce + AESGCM(key).encrypt(nonce, padded, self.number.encode())


class Device:
    """What the host knows of a device."""

    def __init__(self, signed, user):
        # Beside these m1 holds fresh bytes, which are no part of the card.
        self.signed = {"card": signed["card"], "signature": signed["signature"]}
        card = signed["card"]
        fields = json.loads(card)
        self.user = user
        self.key = fields["key"]
        self.id = key_id(self.key)
        self.name = fields["name"]
        self.seal = base64.b64decode(fields["seal"])
        self.card_hash = sha256(card.encode())


class Asked:
    """A request that was sent."""

    def __init__(self, body, private):
        self.body = body
        self.fields = json.loads(body)
        self.id = self.fields["id"]
        self.digest = sha256(body)
        self.private = private


class FakeHost:
    """A host of a key of its own at the server."""

    def __init__(self, directory, server, name="fake"):
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.key = Key.new(directory)
        self.relay = Relay(server.origin, self.key)
        # Its name at the server has to be in order, whatever it says to phones.
        self.relay.call("POST", "/v1/hosts", {"token": server.token(), "name": "fake", "proof": self.relay.proof()})
        self.token = self.relay.token()

    def call(self, method, path, body=None):
        try:
            return self.relay.call(method, path, body, token=self.token)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            # The server was restarted, or ten minutes are over.
            self.token = self.relay.token()
            return self.relay.call(method, path, body, token=self.token)

    def pairing(self, user):
        return Pairing(self, user)

    def link(self, device):
        """Makes the server deliver to a device that never heard of this host: whoever has its card can."""
        mailbox = self.pairing(device.user).mailbox
        self.relay.call("POST", "/v1/devices", {"mailbox": mailbox, "card": device.signed})

    def sealed(self, kind, device, number, body, signature):
        about = envelope(kind, key_id(self.key.line), device.id, number)
        return seal(kind, self.key.line, device.seal, device.card_hash, about, body, signature)

    def post(self, kind, device, number, body, signature=None, ttl=60):
        signature = signature if signature is not None else self.key.sign(body, f"{kind}@countersign.org")
        message = self.sealed(kind, device, number, body, signature)
        return self.call("POST", "/v1/messages", {"messages": [message], "ttl": ttl, "ring": True})

    def ask(self, device, signature=None, **fields):
        """Sends a request; fields replace or (None) remove its own."""
        private = X25519PrivateKey.generate()
        request = {
            "version": 1,
            "id": os.urandom(16).hex(),
            "reply_key": base64.b64encode(raw(private.public_key())).decode(),
            "host": {"name": self.name, "key": self.key.line},
            "user": device.user,
            "uid": 1000,
            "service": "sshd",
            "kind": "login",
            "remote": {"address": "192.0.2.7", "port": 50022, "source": "kernel"},
            "issued_at": int(time.time()),
            "expires_in": 60,
            "confirm": "code",
            "approvals": {"needed": 1, "from": [device.user]},
            **fields,
        }
        body = json.dumps({name: value for name, value in request.items() if value is not None}).encode()
        assert len(body) <= 2048, "a request is at most 2048 bytes"
        asked = Asked(body, private)
        self.post("request", device, asked.id, body, signature)
        return asked

    def put_list(self, listed, ttl=60):
        """Gives the server the list of the request that has its number for an id."""
        self.call("PUT", f"/v1/lists/{listed.number}?ttl={ttl}", listed.sealed)

    def close(self, device, asked, outcome, signature=None, **fields):
        closed = {
            "version": 1,
            "id": asked.id,
            "request": asked.digest.hex(),
            "outcome": outcome,
            "closed_at": int(time.time()),
            **fields,
        }
        body = json.dumps(closed).encode()
        self.post("closed", device, asked.id, body, signature)

    def notice(self, device, devices, event=None, **fields):
        """Tells a device about the user's devices."""
        private = X25519PrivateKey.generate()
        notice = {
            "version": 1,
            "id": sha256(b"countersign notice v1" + device.user.encode())[:16].hex(),
            "user": device.user,
            "reply_key": base64.b64encode(raw(private.public_key())).decode(),
            "devices": devices,
            "issued_at": int(time.time()),
            **({"event": event} if event else {}),
            **fields,
        }
        body = json.dumps(notice).encode()
        self.post("notice", device, notice["id"], body)
        return Asked(body, private)

    def answer(self, device, asked, seconds=10, kind="decision"):
        """The device's verified answer to a request."""

        def arrived():
            polled = self.call("GET", "/v1/poll?wait=1")
            for event in polled["events"]:
                about = json.loads(event["data"]["envelope"])
                if (about["type"], about["id"], about["from"]) == (kind, asked.id, device.id):
                    return event["data"]
            return None

        sealed = wait_until(arrived, seconds, f"the device's {kind}")
        recipient = sha256(raw(asked.private.public_key()))
        body, signature = unseal(kind, asked.private, device.key, recipient, sealed)
        device_key_signed(device, body, signature, {"decision": "decision", "removal": "remove"}[kind])
        return json.loads(body)


def device_key_signed(device, body, signature, namespace):
    """ssh-keygen's word that the device signed."""
    with tempfile.TemporaryDirectory() as directory:
        signers, file = Path(directory) / "signers", Path(directory) / "signature"
        signers.write_text(f"device {device.key}\n")
        file.write_text(signature)
        argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "device", "-n", f"{namespace}@countersign.org", "-s", file]
        done = subprocess.run(argv, input=body, capture_output=True)
        assert done.returncode == 0, done.stderr
