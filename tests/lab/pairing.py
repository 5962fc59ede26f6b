"""`countersign pair USER --json`: the terminal's side of a pairing."""

import json
import subprocess
import threading

from . import paths
from .daemon import RUN
from .process import wait_until


class PairingCommand:
    """A pairing at the host. Each line that the command prints is an event."""

    def __init__(self, user, run=RUN, argv_prefix=(), options=()):
        self.events = []
        self.popen = subprocess.Popen(
            [*argv_prefix, str(paths.COMMAND), "--run", str(run), "pair", user, "--json", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._errors = ""
        self._readers = [threading.Thread(target=target, daemon=True) for target in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.events.append(json.loads(line))

    def _read_errors(self):
        self._errors = self.popen.stderr.read()

    def event(self, kind):
        """The first event of the kind so far."""
        return next((event for event in list(self.events) if event["event"] == kind), None)

    def wait_for(self, kind, seconds=10):
        def seen():
            found = self.event(kind)
            assert found or self.popen.poll() is None, f"countersign pair ended ({self.popen.returncode}): {self.said()}"
            return found

        return wait_until(seen, seconds, f"countersign pair says {kind}; it said {self.events}")

    def opened(self, seconds=10):
        """The link and what belongs to it."""
        return self.wait_for("opened", seconds)

    @property
    def link(self):
        return self.opened()["link"]

    def type(self, code):
        self.popen.stdin.write(f"{code}\n")
        self.popen.stdin.flush()

    def alive(self):
        return self.popen.poll() is None

    def finish(self, seconds=15):
        """Waits for the end; returns the exit status."""
        self.popen.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return self.popen.returncode

    def said(self):
        for reader in self._readers:
            reader.join(1)
        return f"{self.events}\n{self._errors}"

    def stop(self):
        if self.alive():
            self.popen.kill()
            self.popen.wait()
