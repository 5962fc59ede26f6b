"""A device that lies: it holds a paired device's keys and sends whatever a test wants.

A second implementation of docs/protocol.md's device, in the few lines that the tests need, on Python's `cryptography`
and ssh-keygen.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PADDED = 3072
KEM = b"KEM" + struct.pack(">H", 0x0020)
SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0001)


def sha256(data):
    return hashlib.sha256(data).digest()


def _extract(suite, salt, label, key):
    return hmac.digest(salt, b"HPKE-v1" + suite + label + key, "sha256")


def _expand(suite, secret, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([number]), "sha256")
        out, number = out + block, number + 1
    return out[:length]


def _cipher(shared, enc, recipient, info):
    """RFC 9180, base mode: the cipher and the nonce of the first and only message."""
    secret = _extract(KEM, b"", b"eae_prk", shared)
    secret = _expand(KEM, secret, b"shared_secret", enc + recipient, 32)
    context = b"\0" + _extract(SUITE, b"", b"psk_id_hash", b"") + _extract(SUITE, b"", b"info_hash", info)
    secret = _extract(SUITE, secret, b"secret", b"")
    return AESGCM(_expand(SUITE, secret, b"key", context, 16)), _expand(SUITE, secret, b"base_nonce", context, 12)


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _info(kind, sender_blob, recipient_hash):
    return b"countersign message v1" + kind.encode() + sha256(sender_blob) + recipient_hash


def blob_of(line):
    """The key's bytes of an OpenSSH public key line."""
    return base64.b64decode(line.split()[1])


def key_id(line):
    return base64.urlsafe_b64encode(sha256(blob_of(line))).rstrip(b"=").decode()


def fingerprint(line):
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(sha256(blob_of(line))).rstrip(b"=").decode()


class Key:
    """An OpenSSH key file that signs."""

    def __init__(self, path):
        self.path = Path(path)
        self.line = subprocess.run(
            ["ssh-keygen", "-y", "-f", self.path], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.line = " ".join(self.line.split()[:2])

    @classmethod
    def new(cls, directory):
        path = Path(tempfile.mkdtemp(dir=directory)) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return cls(path)

    def sign(self, data, namespace="decision@countersign.org"):
        argv = ["ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", self.path]
        return subprocess.run(argv, check=True, capture_output=True, input=data).stdout.decode()


def seal(kind, sender, recipient, recipient_hash, about, body, signature):
    """A sealed message: `recipient` is a raw X25519 key, `about` the envelope's own bytes."""
    plaintext = struct.pack(">H", len(body)) + body + struct.pack(">H", len(signature)) + signature.encode()
    plaintext = plaintext.ljust(PADDED, b"\0")
    ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(32))
    enc = raw(ephemeral.public_key())
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    cipher, nonce = _cipher(shared, enc, recipient, _info(kind, blob_of(sender), recipient_hash))
    ciphertext = cipher.encrypt(nonce, plaintext, about.encode())
    return {"envelope": about, "sealed": base64.b64encode(enc + ciphertext).decode()}


def unseal(kind, private, sender, recipient_hash, sealed):
    """The body of a message and its signature, whoever signed."""
    content = base64.b64decode(sealed["sealed"])
    enc, ciphertext = content[:32], content[32:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    cipher, nonce = _cipher(shared, enc, raw(private.public_key()), _info(kind, blob_of(sender), recipient_hash))
    plaintext = cipher.decrypt(nonce, ciphertext, sealed["envelope"].encode())
    length = struct.unpack(">H", plaintext[:2])[0]
    rest = plaintext[2 + length :]
    signed = struct.unpack(">H", rest[:2])[0]
    return plaintext[2 : 2 + length], rest[2 : 2 + signed].decode()


def envelope(kind, sender_id, recipient_id, number):
    return json.dumps({"version": 1, "type": kind, "from": sender_id, "to": recipient_id, "id": number})


class Relay:
    """The server's calls, by somebody who holds a key."""

    def __init__(self, origin, key):
        self.origin = origin
        self.key = key

    def call(self, method, path, body=None, token=None):
        """Bytes go as they are, everything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/octet-stream" if isinstance(body, bytes) else "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        call = urllib.request.Request(self.origin + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(call, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def proof(self):
        challenge = self.call("POST", "/v1/auth/challenge", {"key": self.key.line})
        statement = json.dumps(
            {"origin": self.origin, "key": self.key.line, "nonce": challenge["nonce"], "expires_at": challenge["expires_at"]}
        )  # fmt: skip
        return {"statement": statement, "signature": self.key.sign(statement.encode(), "auth@countersign.org")}

    def token(self):
        return self.call("POST", "/v1/auth/token", self.proof())["token"]


class Forger:
    """Takes over the home directory of a `countersign approve` that was stopped."""

    def __init__(self, home, origin):
        home = Path(home)
        self.key = Key(home / "id_ed25519")
        self.seal_key = X25519PrivateKey.from_private_bytes(base64.b64decode((home / "seal_key").read_text()))
        card = json.loads((home / "identity.json").read_text())["card"]["card"]
        self.card_hash = sha256(card.encode())
        self.relay = Relay(origin, self.key)
        self.token = self.relay.token()

    def request(self, host_key, seconds=10):
        """The newest open request from the host: its exact bytes."""
        return self.message("request", host_key, seconds)

    def message(self, kind, host_key, seconds=10):
        """The newest message of that kind from the host: its exact bytes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            polled = self.relay.call("GET", "/v1/poll?wait=1", token=self.token)
            sealed = [event["data"] for event in polled["events"] if event["event"] == "message"]
            envelopes = [(json.loads(one["envelope"]), one) for one in sealed]
            sealed = [one for about, one in envelopes if (about["type"], about["from"]) == (kind, key_id(host_key))]
            if sealed:
                return self.open(sealed[-1], host_key, kind)
        raise AssertionError(f"no {kind} came to the device")

    def open(self, sealed, host_key, kind="request"):
        body, _ = unseal(kind, self.seal_key, host_key, self.card_hash, sealed)
        return body

    def decision(self, over, **fields):
        """The bytes of an approval of the request; fields replace or (None) remove its own."""
        body = {
            "version": 1,
            "request": sha256(over).hex(),
            "decision": "approve",
            "decided_at": int(time.time()),
            "counter": int(time.time() * 1000),
            **fields,
        }
        return json.dumps({name: value for name, value in body.items() if value is not None}).encode()

    def send(self, request, body, signature, reply_key=None, sender=None):
        """Seals and posts a decision; True when the server took it."""
        host = json.loads(request)["host"]["key"]
        return self.post("decision", request, host, body, signature, reply_key, sender or self.key.line)

    def remove(self, notice, device, host_key):
        """Answers a notice with the removal of a device, as the approver would; True when the server took it."""
        body = json.dumps(
            {
                "version": 1,
                "notice": sha256(notice).hex(),
                "device": device,
                "decided_at": int(time.time()),
                "counter": int(time.time() * 1000),
            }
        ).encode()
        signature = self.key.sign(body, "remove@countersign.org")
        return self.post("removal", notice, host_key, body, signature, None, self.key.line)

    def post(self, kind, over, host_key, body, signature, reply_key, sender):
        parsed = json.loads(over)
        recipient = base64.b64decode(reply_key or parsed["reply_key"])
        about = envelope(kind, key_id(sender), key_id(host_key), parsed["id"])
        sealed = seal(kind, sender, recipient, sha256(recipient), about, body, signature)
        try:
            self.relay.call("POST", "/v1/decisions", {"decision": sealed}, token=self.token)
        except urllib.error.HTTPError:
            return False
        return True
