"""Chromium, told what to do: the Python side of tests/web/phone.mjs."""

import itertools
import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

from . import paths

WEB = paths.REPOSITORY / "tests" / "web"
NAMES = (f"phone-{number}" for number in itertools.count(1))


class BrowserError(AssertionError):
    """What the browser could not do, in its words."""


class Browser:
    """One driver for all phones of a test run; it starts Chromium when the first phone opens."""

    _shared = None

    @classmethod
    def shared(cls):
        if cls._shared is None or not cls._shared.alive():
            cls._shared = cls()
        return cls._shared

    @classmethod
    def end(cls):
        if cls._shared:
            cls._shared.close()
            cls._shared = None

    @staticmethod
    def missing():
        """What is not there to drive a browser with; None when all is there."""
        for part in (Path("/usr/bin/chromium"), WEB / "node_modules" / "playwright-core"):
            if not part.exists():
                return str(part)
        return None

    def __init__(self, driver="phone.mjs", environment=None):
        missing = self.missing()
        assert not missing, f"{missing} is not there: packaging/install-deps --tests"
        home = Path("/run/lab/browser")
        home.mkdir(parents=True, exist_ok=True)
        # Node 18 hides what later ones show unasked.
        environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), **(environment or {})}
        self._errors = home / "driver.err"
        with open(self._errors, "ab") as errors:
            self._popen = subprocess.Popen(
                ["node", str(WEB / driver)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._numbers = itertools.count(1)
        self._answers = {}
        self._listeners = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def alive(self):
        return self._popen.poll() is None

    def _read(self):
        for line in self._popen.stdout:
            told = json.loads(line)
            if "id" in told:
                waiting = self._answers.pop(told["id"], None)
                if waiting:
                    waiting.put(told)
            else:
                listener = self._listeners.get(told["phone"])
                if listener:
                    listener({**told, "seen": time.monotonic()})
        for waiting in list(self._answers.values()):
            waiting.put({"error": f"the browser's driver has ended:\n{self._errors.read_text(errors='replace')}"})

    def listen(self, phone, listener):
        self._listeners[phone] = listener

    def call(self, phone, action, seconds=30, **words):
        """Does one thing in a phone; returns what it gives."""
        number = next(self._numbers)
        self._answers[number] = answer = queue.Queue()
        with self._lock:
            self._popen.stdin.write(json.dumps({"id": number, "phone": phone, "do": action, **words}) + "\n")
            self._popen.stdin.flush()
        try:
            told = answer.get(timeout=seconds)
        except queue.Empty:
            raise BrowserError(f"{phone}: {action} {words} took over {seconds} s") from None
        if "error" in told:
            raise BrowserError(f"{phone}: {action} {words}: {told['error']}")
        return told["value"]

    def close(self):
        self._popen.stdin.close()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
