"""`countersign approve`: the device that approves, as a subprocess that tells what it sees."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

from . import paths
from .daemon import RUN
from .process import wait_until


class Approver:
    """A device of one person. Its keys live in `directory`; it need not be that of the host's user."""

    def __init__(self, directory, name="phone", server_ca=None):
        self.home = Path(directory)
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name
        self.server_ca = server_ca
        self.events = []
        self.command = [paths.COMMAND, "approve", "--home", self.home]
        # What it finds in its environment beside the usual: a desktop, for example.
        self.environment = {}
        self._popen = None
        self._errors = self.home.parent / f"{self.home.name}.err"

    def pair(self, user, run=RUN):
        """Pairs with the private host for the user, typing the code that the device shows; then watches."""
        self.events.clear()
        host = subprocess.Popen(
            [paths.COMMAND, "--run", run, "pair", user, "--json", "--no-ring"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            line = host.stdout.readline()
            assert line, f"countersign pair {user}: {host.communicate()[1]}"
            link = json.loads(line)["link"]
            ca = ["--server-ca", self.server_ca] if self.server_ca else []
            self.start("--pair", link, "--name", self.name, *ca)
            code = self.wait_for("pairing-code")["code"]
            host.stdin.write(f"{code}\n")
            host.stdin.flush()
            out, err = host.communicate(timeout=15)
            assert host.returncode == 0, f"countersign pair {user}: {host.returncode}\n{out}{err}"
        finally:
            host.kill()
        self.wait_for("paired")
        self.wait_for("connected")
        return self

    def start(self, *arguments):
        """Watches for requests."""
        argv = [*self.command, "--plain", "--json", *arguments]
        with open(self._errors, "ab") as errors:
            self._popen = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
                env={**os.environ, "HOME": str(self.home), **self.environment},
            )  # fmt: skip
        threading.Thread(target=self._read, args=(self._popen.stdout,), daemon=True).start()
        return self

    def _read(self, out):
        for line in out:
            event = json.loads(line)
            # The request's own fields stand beside the event's.
            event = {**event.pop("request", {}), **event, "seen": time.monotonic()}
            self.events.append(event)

    def said(self):
        return "\n".join(json.dumps(event) for event in self.events) + "\n" + self._errors.read_text(errors="replace")

    def all(self, kind, **fields):
        """The events of a kind so far, with these fields."""
        return [
            event
            for event in list(self.events)
            if event["event"] == kind and all(event.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, kind, seconds=10, **fields):
        """The first event of the kind with these fields."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.all(kind, **fields)
            if found:
                return found[0]
            assert time.monotonic() < deadline, f"{self.name} saw no {kind} {fields}; it saw:\n{self.said()}"
            assert self._popen.poll() is None, f"{self.name} ended ({self._popen.returncode}):\n{self.said()}"
            time.sleep(0.01)

    def requests(self):
        """The requests that came, in order."""
        return self.all("request")

    def next_request(self, after=0, seconds=10):
        """The request that comes when `after` are there already."""
        wait_until(lambda: len(self.requests()) > after, seconds, f"a request at {self.name}; it saw:\n{self.said()}")
        return self.requests()[after]

    def send(self, line):
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def decide(self, request, answer):
        """Answers a request: `approve`, `deny` or `report`; returns what the device shows then."""
        if answer == "approve" and "list" in request:
            # Before that nothing is approved.
            self.wait_for("list", id=request["id"])
        self.send(f"{answer[0]} {request['id']}")
        return self.wait_for("decided", id=request["id"])

    def approve(self, request):
        """Approves; returns the code that the device shows, None where the request wants a tap."""
        return self.decide(request, "approve").get("code")

    def wait_closed(self, request, seconds=10):
        return self.wait_for("closed", seconds, id=request["id"])

    def alive(self):
        return self._popen.poll() is None

    def stop(self):
        if self._popen and self._popen.poll() is None:
            self._popen.terminate()
            self._popen.wait(5)
