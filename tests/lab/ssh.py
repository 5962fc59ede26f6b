"""The real ssh client against the test's sshd."""

import subprocess
from pathlib import Path

from .terminal import Terminal

# How a test logs in: each leaves the client no other way.
METHODS = {
    "keyboard-interactive": ["PreferredAuthentications=keyboard-interactive"],
    "password": ["PreferredAuthentications=password"],
    "publickey": ["PreferredAuthentications=publickey"],
    "publickey,keyboard-interactive": ["PreferredAuthentications=publickey,keyboard-interactive"],
}


class Client:
    """One person's ssh: its key and its known_hosts."""

    def __init__(self, directory, sshd):
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.sshd = sshd
        self.key = directory / "id_ed25519"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.public_key = self.key.with_suffix(".pub").read_text()
        known = directory / "known_hosts"
        known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}")
        # A configuration file, because scp, rsync and ansible take the same one.
        self.config = directory / "ssh_config"
        self.config.write_text(
            "Host *\n"
            f"  Port {sshd.port}\n"
            f"  IdentityFile {self.key}\n"
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            f"  UserKnownHostsFile {known}\n"
            "  StrictHostKeyChecking yes\n"
            "  NumberOfPasswordPrompts 1\n"
            "  ControlMaster no\n"
        )

    def options(self, method="keyboard-interactive", batch=False):
        words = ["-F", str(self.config)]
        for option in METHODS[method]:
            words += ["-o", option]
        if batch:
            words += ["-o", "BatchMode=yes"]
        return words

    def login(self, user, *command, method="keyboard-interactive", flags=(), prompts=1, timeout=15):
        """ssh on a terminal. Without a command: a shell."""
        argv = ["ssh", *self.options(method), "-o", f"NumberOfPasswordPrompts={prompts}", *flags]
        return Terminal([*argv, f"{user}@127.0.0.1", *command], timeout=timeout)

    def batch(self, user, *command, flags=(), timeout=20, stdin=None, method="publickey"):
        """ssh with BatchMode and no terminal, as scripts use it; returns the finished process."""
        argv = ["ssh", *self.options(method, batch=True), *flags, f"{user}@127.0.0.1", *command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, input=stdin)

    def start(self, user, *command, flags=(), method="publickey"):
        """Like `batch`, but does not wait."""
        argv = ["ssh", *self.options(method, batch=True), *flags, f"{user}@127.0.0.1", *command]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fingerprint(self):
        out = subprocess.run(["ssh-keygen", "-lf", self.key], check=True, capture_output=True, text=True).stdout
        return out.split()[1]
