"""Background processes with their output in a file, and waiting for things to become true."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

# Everything that was started and not stopped yet, so that a failed test can show what they said.
RUNNING = []


def wait_until(condition, seconds=5.0, what="condition", interval=0.02):
    """The first true value of condition(); an AssertionError that names it after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(interval)


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on. Loopback is ours alone, so nobody takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port, address="127.0.0.1"):
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Process:
    """A program in the background."""

    def __init__(self, name, argv, log, env=None, stdin=subprocess.DEVNULL, **options):
        self.name = name
        self.log_path = Path(log)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as out:
            self.popen = subprocess.Popen(
                [str(word) for word in argv],
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                **options,
            )
        RUNNING.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text, seconds=5.0):
        """Waits until the output holds the text; says what it held instead."""

        def seen():
            if text in self.log():
                return True
            if not self.alive() and text not in self.log():
                raise AssertionError(f"{self.name} ended ({self.popen.returncode}) before {text!r}:\n{self.log()}")
            return False

        wait_until(seen, seconds, f"{self.name} says {text!r}; it said:\n{self.log()}")

    def stop(self, how=signal.SIGTERM, seconds=5.0):
        """Ends it and everything it started; returns its exit status."""
        if self.alive():
            self.popen.send_signal(how)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self in RUNNING:
            RUNNING.remove(self)
        return self.popen.returncode

    def kill(self):
        return self.stop(signal.SIGKILL)
