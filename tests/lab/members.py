"""countersign-server as its package runs it, and the hosts and devices that it knows, with what it has acknowledged."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import paths
from .fake_host import url64
from .forger import Key, Relay, key_id, raw
from .process import Process, accepts, free_port, wait_until

# Nothing that is wrong with a file may take longer to be noticed.
PATIENCE = 4
# What the packages make for it has other names; all that counts is that it is neither root nor a person.
USER = "countersign"


class Packaged:
    """A server of its own user, with a configuration of root's; `settings` are lines of that file."""

    def __init__(self, directory, settings="", tables="", port=None):
        self.directory = Path(directory)
        self.state = self.directory / "state"
        self.state.mkdir(parents=True)
        self.state.chmod(0o700)
        shutil.chown(self.state, USER, USER)
        self.database = self.state / "server.db"
        self.config = self.directory / "server.toml"
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.origin = f"http://{self.address}"
        self.config.write_text(f'listen = "{self.address}"\ndatabase = "{self.database}"\n{settings}\n{tables}\n')
        self.process = None

    def argv(self, *words):
        return [str(word) for word in (paths.SERVER, "--config", self.config, *words)]

    def run(self, *words, timeout=PATIENCE):
        """Runs a command of it to its end."""
        return subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=timeout, **as_user())

    def refuses(self, timeout=PATIENCE):
        """It ends instead of serving: the exit status, and what it said, after its name."""
        done = self.run("serve", timeout=timeout)
        lines = [line for line in done.stderr.splitlines() if " WARN " not in line]
        assert lines and lines[0].startswith("countersign-server: "), done
        assert "panicked" not in done.stderr, done
        return done.returncode, "\n".join(lines).removeprefix("countersign-server: ")

    def start(self):
        assert self.try_start(), self.process.log()
        return self

    def try_start(self, seconds=PATIENCE):
        """Whether it serves; it has ended where it does not."""
        log = self.directory / "server.log"
        log.unlink(missing_ok=True)
        self.process = Process("countersign-server", self.argv("serve"), log, **as_user())
        wait_until(lambda: not self.process.alive() or accepts(self.port), seconds, "it serves, or has ended")
        if self.process.alive():
            return True
        self.process.stop()
        return False

    def said(self):
        return self.process.log()

    def hang_up(self):
        self.process.popen.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.stop()

    def kill(self):
        self.process.kill()

    def status(self, path="/readyz", timeout=5):
        """The status of an answer."""
        try:
            with urllib.request.urlopen(self.origin + path, timeout=timeout) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def token(self):
        done = self.run("token", timeout=10)
        if done.returncode:
            raise Failed(done.stderr)
        return done.stdout.split()[-1]


def as_user():
    return {"user": USER, "group": USER, "extra_groups": [], "umask": 0o077}


class Failed(Exception):
    """The server has answered that it could not."""


# No answer at all, or a part of one: the server has gone meanwhile.
GONE = (urllib.error.URLError, http.client.HTTPException, OSError, Failed)


class Device:
    def __init__(self, directory):
        self.key = Key.new(directory)
        self.id = key_id(self.key.line)
        self.serial = 0
        self.seal = base64.b64encode(raw(X25519PrivateKey.generate().public_key())).decode()
        self.subscription = None

    def card(self):
        self.serial += 1
        fields = {"version": 1, "key": self.key.line, "seal": self.seal, "serial": self.serial, "name": "phone"}
        card = json.dumps(fields)
        return {"card": card, "signature": self.key.sign(card.encode(), "device@countersign.org")}


class Members:
    """Does what hosts and devices do, and knows of what it was told that it is done."""

    def __init__(self, server, directory):
        self.server = server
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.tokens = []
        # Hosts, each with the cards of its devices; None where no answer came.
        self.hosts = []
        self.links = {}
        self.devices = []

    def relay(self, key):
        return Relay(self.server.origin, key)

    def call(self, key, method, path, body=None):
        """A call by somebody who is known; one that is answered with a failure has failed."""
        relay = self.relay(key)
        return relay.call(method, path, body, token=relay.token())

    def mint(self):
        self.tokens.append(self.server.token())

    def join(self):
        if not self.tokens:
            self.mint()
        token, key = self.tokens[-1], Key.new(self.directory)
        relay = self.relay(key)
        proof = relay.proof()
        # Whether it is used up is open until there is an answer.
        self.tokens.pop()
        relay.call("POST", "/v1/hosts", {"token": token, "name": "host.example", "proof": proof})
        self.hosts.append(key)
        self.links[key.line] = {}
        return key

    def register(self, host=None):
        host = host or (self.hosts[-1] if self.hosts else self.join())
        device = Device(self.directory)
        mailbox, card = os.urandom(16).hex(), device.card()
        self.call(host, "PUT", f"/v1/mailboxes/{mailbox}")
        links = self.links[host.line]
        links[device.id] = None
        self.relay(device.key).call("POST", "/v1/devices", {"mailbox": mailbox, "card": card})
        links[device.id] = card
        self.devices.append((host, device))
        return device

    def some_device(self):
        if not self.devices:
            self.register()
        return self.devices[-1]

    def renew(self):
        """A later card."""
        host, device = self.some_device()
        links, card = self.links[host.line], device.card()
        links[device.id] = None
        self.call(device.key, "PUT", "/v1/devices/self", card)
        links[device.id] = card

    def subscribe(self):
        _, device = self.some_device()
        point = ec.generate_private_key(ec.SECP256R1()).public_key()
        subscription = {
            "endpoint": f"https://push.example.com/{os.urandom(8).hex()}",
            "p256dh": url64(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
            "auth": url64(os.urandom(16)),
        }
        device.subscription = None
        self.call(device.key, "PUT", "/v1/devices/self/push", subscription)
        device.subscription = subscription["endpoint"]

    def unlink(self):
        host, device = self.some_device()
        self.links[host.line][device.id] = None
        self.devices.remove((host, device))
        self.call(host, "DELETE", f"/v1/devices/{device.id}")
        del self.links[host.line][device.id]

    def all(self):
        return [self.mint, self.join, self.register, self.renew, self.subscribe, self.unlink]

    def check(self, what="", latest=0):
        """Whatever was acknowledged is there, for all hosts or the latest; what was removed is not. The server has to run."""
        for host in self.hosts[-latest:]:
            found = {}
            for card in self.call(host, "GET", "/v1/devices")["devices"]:
                found[key_id(json.loads(card["card"])["key"])] = card
            links = self.links[host.line]
            for device, card in links.items():
                assert card is None or found.get(device) == card, f"{what}: a device or its latest card is lost"
            assert set(found) <= set(links), f"{what}: a device that was removed is there"
        held = self.subscriptions()
        for _, device in self.devices:
            assert device.subscription is None or device.subscription in held, f"{what}: a subscription is lost"

    def spend(self):
        """All tokens that were given out let a host join."""
        while self.tokens:
            self.join()

    def subscriptions(self):
        """As another program reads them meanwhile: a backup, say."""
        with contextlib.closing(sqlite3.connect(f"file:{self.server.database}?mode=ro", uri=True)) as database:
            return {endpoint for (endpoint,) in database.execute("SELECT endpoint FROM subscriptions")}
