"""countersign-server."""

import subprocess
from pathlib import Path

from . import paths
from .process import Process, accepts, free_port, wait_until


class Server:
    """A push server on a free port of loopback; plain HTTP unless a certificate is given."""

    def __init__(self, directory, certificate=None, key=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.database = self.directory / "server.sqlite"
        self.port = free_port()
        self.tls = ["--tls-cert", certificate, "--tls-key", key] if certificate else []
        self.origin = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        argv = [paths.SERVER, "serve", "--listen", f"127.0.0.1:{self.port}", "--origin", self.origin]
        argv += ["--database", self.database, *self.tls]
        self.process = Process("countersign-server", argv, self.directory / "server.log")
        wait_until(lambda: not self.process.alive() or accepts(self.port), 10, "the server listens")
        assert self.process.alive(), self.process.log()

    def token(self):
        """A one-time token for a host that joins."""
        out = subprocess.run(
            [paths.SERVER, "token", "--database", self.database], check=True, capture_output=True, text=True
        )
        return out.stdout.split()[-1]

    def stop(self):
        self.process.stop()

    def kill(self):
        self.process.kill()
