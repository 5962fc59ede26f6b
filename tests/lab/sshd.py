"""A real sshd with the options that a test needs."""

import subprocess
from pathlib import Path

from .process import Process, accepts, free_port, wait_until


class Sshd:
    """OpenSSH's server on a free port of loopback; its PAM service is what its binary is called: `name`."""

    DEFAULTS = {
        "UsePAM": "yes",
        "KbdInteractiveAuthentication": "yes",
        "PasswordAuthentication": "no",
        "PubkeyAuthentication": "yes",
        "PermitRootLogin": "no",
        "PrintMotd": "no",
        "UseDNS": "no",
        "LoginGraceTime": "120",
        "Subsystem": "sftp internal-sftp",
        "LogLevel": "VERBOSE",
    }

    def __init__(self, directory, port=None, name="sshd", **options):
        self.port = port or free_port()
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        host_key = directory / "ssh_host_ed25519_key"
        if not host_key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
        self.host_key = host_key.with_suffix(".pub").read_text()
        config = directory / "sshd_config"
        settings = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "HostKey": host_key,
            "PidFile": directory / "sshd.pid",
            **self.DEFAULTS,
            **options,
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        binary = Path("/usr/sbin/sshd")
        if name != "sshd":
            binary = directory / name
            binary.symlink_to("/usr/sbin/sshd")
        self.process = Process("sshd", [binary, "-D", "-e", "-f", config], directory / "sshd.log")
        wait_until(lambda: not self.process.alive() or accepts(self.port), 5, "sshd listens")
        assert self.process.alive(), self.log()

    def log(self):
        return self.process.log()

    def stop(self):
        self.process.stop()
