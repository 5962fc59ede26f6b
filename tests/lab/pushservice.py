"""A stand-in for Mozilla's push service: the Python side of tests/web/pushservice.mjs."""

import base64
import json
import subprocess
import threading
import time

from . import tls
from .browser import WEB
from .process import wait_until


class PushService:
    """A push service on loopback. `server_options` let a Server use it, `preferences` a Firefox."""

    def __init__(self, directory):
        self.directory = directory
        certificate, key, self.ca = tls.make(directory)
        self.events = []
        self._errors = open(directory / "pushservice.err", "w+")
        self._popen = subprocess.Popen(
            ["node", str(WEB / "pushservice.mjs"), str(certificate), str(key)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        listening = wait_until(lambda: self.all("listening"), 20, "the push service listens")[0]
        self.socket, self.origin = listening["socket"], f"https://127.0.0.1:{listening['https']}"
        config = directory / "server.toml"
        config.write_text(f"log = 'debug'\n[push]\nprivate_networks = true\nca = '{self.ca}'\n")
        self.server_options = ["--config", config]
        self.preferences = {
            "dom.push.serverURL": f"ws://127.0.0.1:{self.socket}",
            "dom.push.testing.allowInsecureServerURL": True,
        }

    def _read(self):
        for line in self._popen.stdout:
            self.events.append({**json.loads(line), "seen": time.monotonic()})

    def all(self, event, **fields):
        """What happened so far, of a kind, with these fields."""
        return [
            told
            for told in list(self.events)
            if told["event"] == event and all(told.get(name) == value for name, value in fields.items())
        ]

    def pushes(self, **fields):
        """What was posted."""
        return self.all("push", **fields)

    def wait_pushes(self, count, seconds=10, **fields):
        """Waits until so many were posted; returns them."""

        def enough():
            found = self.pushes(**fields)
            return found if len(found) >= count else None

        try:
            return wait_until(enough, seconds, f"{count} pushes {fields or ''}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there were {[push['status'] for push in self.pushes()]}") from None

    def plan(self, *plan, path=None):
        """What happens to the next pushes, to a path or to all: dicts of status, retryAfter, delay, hangs, drops."""
        self._popen.stdin.write(json.dumps({"path": path, "plan": plan}) + "\n")
        self._popen.stdin.flush()

    def stop(self):
        self._popen.stdin.close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._errors.close()


class Keys:
    """A subscription's keys, held by another implementation than ours."""

    def __init__(self):
        made = json.loads(_node())
        self.private, self.p256dh, self.auth = made["private"], made["p256dh"], made["auth"]

    def open(self, push):
        """What a push holds."""
        return base64.b64decode(_node(self.private, self.auth, stdin=base64.b64decode(push["body"])))


def _node(*words, stdin=b""):
    argv = ["node", str(WEB / "open-push.mjs"), *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
