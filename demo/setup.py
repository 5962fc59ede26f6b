"""What the demo's two forms share: the private host with the user `demo` and a paired device."""

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


def stack():
    directory = Path("/run/lab/demo")
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    return Stack(directory, wait="60s", offline=["recovery"])
