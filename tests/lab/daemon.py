"""countersignd, with its configuration, its sockets and its audit trail at their usual places."""

import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from . import paths
from .process import Process, wait_until

CONFIG = Path("/etc/countersign/countersign.toml")
STATE = Path("/var/lib/countersign")
RUN = Path("/run/countersign")
# What a daemon's clocks are off, where it was started like that.
WOUND = Path("/run/lab/wound")


def toml(value):
    """A value as TOML writes it; strings, booleans, numbers and lists of them are JSON there too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


class Daemon:
    """The daemon of the private host. Keyword arguments are the settings of `[default]`, `host` holds others.

    A `suffix` makes it another host's, with its own key, at places of its own.
    """

    DEFAULTS = {"then": "approve", "confirm": "code", "wait": "20s", "without_prompt": "tap", "codes": ["recovery"]}

    def __init__(self, directory, origin, ca=None, suffix="", host=None, **default):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config = Path(f"{CONFIG.parent}{suffix}") / CONFIG.name
        self.state = Path(f"{STATE}{suffix}")
        self.run = Path(f"{RUN}{suffix}")
        for place in (self.state, self.run, self.config.parent):
            shutil.rmtree(place, ignore_errors=True)
        self.state.mkdir(parents=True, mode=0o700)
        shutil.chown(self.state, "countersign", "countersign")
        self.config.parent.mkdir(mode=0o755)
        self.origin = origin
        self.host_name = f"lab{suffix}"
        self.ca = None
        if ca:
            # Where the daemon's own user can read it.
            self.ca = self.config.parent / "server-ca.pem"
            shutil.copy(ca, self.ca)
        self.host_settings = host or {}
        self.process = None
        self.configure(**default)

    def configure(self, **default):
        """Writes the configuration; settings that are None are left out."""
        settings = {**self.DEFAULTS, **default}
        text = f"server = {toml(self.origin)}\nhost_name = {toml(self.host_name)}\n"
        if self.ca:
            text += f"server_ca = {toml(str(self.ca))}\n"
        text += "".join(f"{name} = {toml(value)}\n" for name, value in self.host_settings.items())
        text += "\n[default]\n"
        text += "".join(f"{name} = {toml(value)}\n" for name, value in settings.items() if value is not None)
        self.write_config(text)

    def write_config(self, text):
        self.config.write_text(text)
        self.config.chmod(0o644)

    def write(self, name, text):
        """A file of the administrator's beside the configuration."""
        file = self.config.with_name(name)
        file.write_text(text)
        file.chmod(0o644)

    def start(self, expect_ready=True, clock=None, windable=False):
        """Starts it; with a clock that is so far off: "+2h", "-10m". `windable`: all its clocks can be wound on."""
        argv = [paths.DAEMON, "--user", "countersign", "--config", self.config]
        argv += ["--state", self.state, "--run", self.run]
        if clock:
            argv = ["env", f"LD_PRELOAD={paths.FAKETIME}", f"FAKETIME={clock}", "FAKETIME_DONT_FAKE_MONOTONIC=1", *argv]
        if windable:
            self.wind("+0s")
            faked = [f"LD_PRELOAD={paths.FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={WOUND}", "FAKETIME_NO_CACHE=1"]
            argv = ["env", *faked, *argv]
        # An earlier one may have left its sockets.
        before = self._socket()
        self.process = Process("countersignd", argv, self.directory / "countersignd.log")
        wait_until(lambda: not self.process.alive() or self._listens(before), 5, "the daemon listens")
        if expect_ready:
            assert self.process.alive(), self.process.log()
        return self

    def wind(self, on):
        """From now on its clocks are so far off, also those that nobody can set: "+61s"."""
        WOUND.write_text(f"{on}\n")
        WOUND.chmod(0o644)

    def _socket(self):
        """The socket that is bound last, as a number; None where there is none."""
        path = self.run / "self.sock"
        try:
            return path.lstat().st_ino
        except (FileNotFoundError, NotADirectoryError):
            # Also while one daemon's goes and the next one's comes.
            return None

    def _listens(self, before):
        if self._socket() in (None, before):
            return False
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(self.run / "self.sock")) == 0

    def reload(self):
        self.process.popen.send_signal(signal.SIGHUP)

    def join(self, token):
        self.command("join", "--token", token)
        wait_until(lambda: self.status()["connected"], 5, "the daemon is connected to its server")

    def command(self, *words, stdin=None, check=True):
        """Runs `countersign WORDS --json` as root; returns what it printed."""
        done = subprocess.run(
            [paths.COMMAND, "--run", self.run, *[str(word) for word in words], "--json"],
            capture_output=True, text=True, input=stdin, timeout=30,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"countersign {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def status(self):
        # Its exit status says whether all is well; here the answer counts.
        return self.command("status", check=False) or {"connected": False, "config_faults": []}

    def audit(self):
        """The records of the audit trail, oldest first."""
        records = []
        for file in sorted((self.state / "audit").iterdir()):
            records += [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        return records

    def stop(self):
        if self.process:
            self.process.stop()

    def kill(self):
        self.process.kill()
