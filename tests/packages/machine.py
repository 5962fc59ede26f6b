"""A throw-away Debian that is booted with systemd as process 1."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

from lab.process import wait_until
from lab.terminal import Terminal

REPOSITORY = Path(__file__).resolve().parents[2]
SCRATCH = Path(os.environ["COUNTERSIGN_MACHINES"])
SUITE = os.environ["COUNTERSIGN_SUITE"]
DEBS = Path(os.environ["COUNTERSIGN_DEBS"])
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
# Where everybody is, for everybody's /etc/hosts. The test itself is the router.
OUTSIDE = "10.77.0.1"
ADDRESSES = {"push.example.com": "10.77.0.2", "host": "10.77.0.3", "laptop": "10.77.0.4", "push2.example.com": "10.77.0.5"}


class Failed(AssertionError):
    """A command that should have worked."""


class Machine:
    """One machine; its disk outlives a reboot, and nothing outlives the test. `debs` lies there as /debs."""

    def __init__(self, name, debs=DEBS):
        self.name = name
        self.address = ADDRESSES[name]
        self.leader = None
        self._nspawn = None
        self._boots = 0
        self._terminals = []
        self._directory = SCRATCH / name
        self.root = self._directory / "root"
        self._debs = debs
        for part in ("up", "work", "root"):
            (self._directory / part).mkdir(parents=True)
        layers = f"lowerdir={REPOSITORY}/.build/rootfs-{SUITE},upperdir={self._directory}/up,workdir={self._directory}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        self._plug_in()
        hosts = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        self.write("/etc/hosts", f"127.0.0.1 localhost\n{hosts}")
        self.write("/etc/hostname", f"{name}\n")
        # As a machine that nobody has booted yet: each gets its own id, and its own ssh keys.
        self.write("/etc/machine-id", "")
        for key in self.root.glob("etc/ssh/ssh_host_*_key*"):
            key.unlink()
        _run("ssh-keygen", "-q", "-A", "-f", self.root)

    def _plug_in(self):
        """A network namespace of its own, with one cable to the bridge."""
        wire = f"to-{self.address.rpartition('.')[2]}"
        self.namespace = f"lab-{self.name}"
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _run("ip", "link", "set", wire, "master", "lab", "up")
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        _run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    # Power.

    def boot(self):
        self._boots += 1
        group = Path(f"/sys/fs/cgroup/{SCRATCH.name}-{self.name}-{self._boots}")
        group.mkdir()
        argv = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--machine=" + self.name.replace(".", "-"), "--boot"]
        argv += ["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only"]
        argv += [f"--network-namespace-path=/run/netns/{self.namespace}", f"--hostname={self.name}"]
        argv += [f"--bind-ro={self._debs}:/debs"]
        with open(self._directory / "console", "wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "_", group, *argv],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        self._group = group
        self.leader = int(wait_until(self._child, 10, "nspawn starts the machine"))
        wait_until(lambda: self._state() in ("running", "degraded"), 60, f"{self.name} is up; its console:\n{self.console()}")
        return self

    def _child(self):
        """Its process 1; nspawn has another child before."""
        assert self._nspawn.poll() is None, self.console()
        found = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], capture_output=True, text=True).stdout.split()
        for child in found:
            with contextlib.suppress(OSError):
                ids = re.search(r"^NSpid:(.*)$", Path(f"/proc/{child}/status").read_text(), re.MULTILINE)[1].split()
                if ids[-1] == "1" and Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return child
        return None

    def _state(self):
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def console(self):
        return (self._directory / "console").read_text(errors="replace")[-4000:]

    def power_off(self):
        """As its button does."""
        self._end(signal.SIGRTMIN + 4)

    def power_cut(self):
        """Nothing is told, nothing is stopped; what was written to its disk stays."""
        self._end(signal.SIGKILL)

    def reboot(self):
        self.power_off()
        return self.boot()

    def _end(self, how):
        if self._nspawn is None:
            return
        # A program that was started there from outside is nobody's there: process 1 would wait for it for ever.
        for terminal in self._terminals:
            terminal.kill()
        self._terminals.clear()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader, how)
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            self._nspawn.wait(10)
        self._nspawn = None
        for directory, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def running(self):
        return self._nspawn is not None and self._nspawn.poll() is None

    # What is done there.

    def argv(self, *words, user="root", env=()):
        """The command line that runs a program there, as the user, with that user's environment and no PAM in between."""
        argv = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        home = "/root" if user == "root" else f"/home/{user}"
        if user != "root":
            argv += ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"]
        settings = {**ENVIRONMENT, "HOME": home, "USER": user, "LOGNAME": user, **dict(env)}
        argv += ["env", "-i", f"--chdir={home}", *[f"{name}={value}" for name, value in settings.items()]]
        return [str(word) for word in [*argv, *words]]

    def run(self, *words, user="root", check=True, stdin=None, timeout=60):
        done = subprocess.run(self.argv(*words, user=user), capture_output=True, text=True, input=stdin, timeout=timeout)
        if check and done.returncode != 0:
            raise Failed(f"{self.name}: {shlex.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shell(self, script, user="root", **options):
        """A piece of shell, as it is typed; it ends at the first command that fails."""
        return self.run("bash", "-euc", script, user=user, **options)

    def terminal(self, *words, user="root", timeout=20):
        terminal = Terminal(self.argv(*words, user=user), timeout=timeout)
        self._terminals.append(terminal)
        return terminal

    def console_login(self, user):
        """What a getty starts when somebody has typed a name there."""
        return self.terminal("script", "-qfc", f"exec /bin/login -p {user}", "/dev/null")

    def start(self, *words, user="root"):
        return subprocess.Popen(
            self.argv(*words, user=user), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    # Its files.

    def path(self, name):
        return self.root / str(name).lstrip("/")

    def read(self, name):
        return self.path(name).read_text()

    def write(self, name, text, mode=0o644):
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    # How it is.

    def journal(self, *words):
        return self.run("journalctl", "--no-pager", "-o", "short-precise", *words, check=False).stdout

    def assert_well(self, *but):
        """No unit has failed, and none of ours has said that something is wrong, but for lines with one of these texts."""
        failed = self.run("systemctl", "--failed", "--no-legend", "--plain").stdout
        assert not failed.strip(), f"{self.name}: {failed}"
        lines = self.journal("-p", "err", "-u", "countersign*").splitlines() + self.journal("-p", "err", "-t", "pam_countersign").splitlines()
        bad = [line for line in lines if not line.startswith("--") and not any(text in line for text in but)]
        assert not bad, f"{self.name}: errors in the journal:\n" + "\n".join(bad)

    def close(self):
        self._end(signal.SIGKILL)


def _run(*argv, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
