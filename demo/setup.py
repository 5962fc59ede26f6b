"""What the demo's two forms share: the private host with the user `demo`."""

from pathlib import Path

from lab import accounts, pam
from lab.stack import Stack
from lab.syslog import Syslog

PORT = 2222
USER = "demo"
PASSWORD = accounts.PASSWORDS[USER]


def host():
    """The private host with its accounts; returns its log."""
    log = Syslog()
    accounts.create()
    pam.protect()
    return log


def stack(port=None):
    """Server, daemon; the server at http://localhost:PORT, which browsers take for as safe as https."""
    directory = Path("/run/lab/demo")
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    server = {"port": port, "name": "localhost"}
    return Stack(directory, server=server, wait="60s", offline=["recovery"])
