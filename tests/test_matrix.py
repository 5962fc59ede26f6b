"""Service × stage × cause × policy on real parts: every cell of tests/matrix/cells.toml is what happens.

COUNTERSIGN_MATRIX=write writes down what happens in place of comparing it; read the difference before you believe it.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import accounts, matrix, tls
from lab.broken import Front
from lab.causes import CAUSES, Person
from lab.process import free_port, wait_until
from lab.ssh import Client
from lab.sshd import Sshd
from lab.stack import Stack
from matrix import table

POLICIES = table.policies()


class Lab:
    """Everything of one policy."""

    def __init__(self, directory, policy, syslog):
        self.syslog = syslog
        good, other = tls.make(directory / "good"), tls.make(directory / "bad")
        port = free_port()
        self.front = Front(port, (good[:2], other[:2]))
        server = {"port": port, "origin": f"https://127.0.0.1:{self.front.port}"}
        self.stack = Stack(directory, tls=good, server=server)
        self.phone = self.stack.approver("alice")
        self.codes, self._making_codes = [], threading.Lock()
        self.clients = {
            "sshd": self._ssh(directory, "sshd"),
            "sshd-password": self._ssh(directory, "sshd-password", PasswordAuthentication="yes"),
            "sshd-key": self._ssh(directory, "sshd-key"),
            "sshd-both": self._ssh(directory, "sshd-both", AuthenticationMethods="publickey,keyboard-interactive"),
        }
        keys = "".join(client.public_key for client in self.clients.values())
        for user in accounts.PASSWORDS:
            accounts.authorize_key(user, keys)
        self._policy(policy)

    def _ssh(self, directory, name, **options):
        return Client(directory / f"client-{name}", Sshd(directory / f"server-{name}", name=name, **options))

    def _policy(self, policy):
        daemon = self.stack.daemon
        head = f'server = "{daemon.origin}"\nserver_ca = "{daemon.ca}"\nhost_name = "lab"\n'
        daemon.stop()
        daemon.write_config(head + policy["text"])
        daemon.start()
        self.connected()

    def connected(self):
        """Daemon and phone have found the server again."""
        wait_until(lambda: self.stack.daemon.status()["connected"], 20, f"the daemon is connected again: {self.stack.daemon.status()}")
        self.phone.stop()
        before = len(self.phone.all("connected"))
        self.phone.start()
        wait_until(lambda: len(self.phone.all("connected")) > before, 10, "the phone is connected again")

    def recovery_code(self):
        with self._making_codes:
            # New ones end those that are left.
            if not self.codes:
                self.codes = self.stack.daemon.command("codes", "alice", "--recovery")["codes"]
            return self.codes.pop()

    def play(self, cause, service):
        with Person(self, cause, service) as person:
            return matrix.play(self, service, cause.user, person)

    def cells(self, cause, services):
        """What happens to each service."""
        cause = CAUSES[cause]
        cause.begin(self)
        together = [[service] for service in services] if cause.alone else [services]
        found = {}
        try:
            for group in together:
                # What was denied, reported, mistyped or left alone before must not matter now.
                if self.stack.daemon.process.alive():
                    self.stack.daemon.command("unblock", "--all")
                self.all_asked = threading.Barrier(len(group))
                with ThreadPoolExecutor(len(group)) as pool:
                    found.update(zip(group, pool.map(lambda service: self.play(cause, service), group)))
        finally:
            cause.end(self)
        return found

    def stop(self):
        self.stack.stop()
        self.front.stop()


@pytest.fixture
def services():
    """PAM services with Countersign in all of them; `clean` puts the usual ones back."""
    matrix.protect()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_cell_is_what_happens(policy, tmp_path, syslog, services):
    lab = Lab(tmp_path, POLICIES[policy], syslog)
    found, opened = {}, []
    try:
        for cause in table.causes_of(POLICIES[policy]):
            played = lab.cells(cause, table.services_of(POLICIES[policy], cause))
            found[cause] = {service: one.cell() for service, one in played.items()}
            opened += [(cause, service, one) for service, one in played.items() if one.opened != table.opens(one.result)]
    finally:
        lab.stop()
    assert not opened, "\n".join(f"{cause}, {service}: {one.result}, but opened: {one.opened}" for cause, service, one in opened)
    if os.environ.get("COUNTERSIGN_MATRIX") == "write":
        return table.write_cells(policy, found)
    assert found == table.cells()[policy]


def test_the_tables_of_the_documentation_are_made_of_the_cells():
    assert table.DOCUMENT.read_text() == table.with_tables(table.DOCUMENT.read_text())
