"""countersign-server."""

import subprocess
from pathlib import Path

from . import paths
from .process import Process, accepts, free_port, wait_until


class Server:
    """A push server on a port of loopback, a free one unless told; plain HTTP unless a certificate is given.

    `options` go to its command line; `inside` is what starts it in a network namespace, where `listen` is its address.
    """

    def __init__(
        self, directory, certificate=None, key=None, port=None, name="127.0.0.1", origin=None, options=(),
        listen="127.0.0.1", inside=(),
    ):  # fmt: skip
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.database = self.directory / "server.sqlite"
        self.port = port or free_port()
        self.options = options
        self.listen, self.inside = listen, inside
        self.tls = ["--tls-cert", certificate, "--tls-key", key] if certificate else []
        self.origin = origin or f"{'https' if certificate else 'http'}://{name}:{self.port}"
        self.process = None
        self.start()

    def start(self):
        argv = [*self.inside, paths.SERVER, "serve", "--listen", f"{self.listen}:{self.port}", "--origin", self.origin]
        argv += ["--database", self.database, *self.tls, *self.options]
        self.process = Process("countersign-server", argv, self.directory / "server.log")
        wait_until(lambda: not self.process.alive() or accepts(self.port, self.listen), 10, "the server listens")
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
