"""All parts of Countersign on the private host, joined and paired."""

from . import accounts
from .approver import Approver
from .daemon import Daemon
from .phone import Phone
from .server import Server
from .ssh import Client
from .sshd import Sshd


class Stack:
    """Server, daemon, and what a test asks for beside them.

    Keyword arguments are settings of `[default]`; `server` holds arguments of the Server, `host` settings of the daemon
    beside `[default]`.
    """

    def __init__(self, directory, tls=None, server=None, host=None, **default):
        self.directory = directory
        certificate, key, ca = tls or (None, None, None)
        self.ca = ca
        self.server = Server(directory / "server", certificate, key, **(server or {}))
        self.daemon = Daemon(directory / "daemon", self.server.origin, ca=ca, host=host, **default).start()
        self.daemon.join(self.server.token())
        self._approvers = []

    def approver(self, user="alice", name="phone"):
        """A new device, paired for the user and watching."""
        approver = Approver(self.directory / f"{user}-{name}", name, server_ca=self.ca)
        self._approvers.append(approver)
        return approver.pair(user)

    def phone(self, user="alice", name="phone", **options):
        """The web approver in a browser, paired for the user and watching."""
        return Phone(self.server.origin, name, **options).pair(user)

    def sshd(self, **options):
        return Sshd(self.directory / "sshd", **options)

    def client(self, sshd, user=None):
        """An ssh client; its key may log in as `user`."""
        client = Client(self.directory / "client", sshd)
        if user:
            accounts.authorize_key(user, client.public_key)
        return client

    def stop(self):
        for approver in self._approvers:
            approver.stop()
