"""Service × stage × cause × policy on real parts: every cell of tests/matrix/cells.toml is what happens.

The server is on a network of its own (tests/lab/network.py), where what is wrong with the way to it is done to real packets.

COUNTERSIGN_MATRIX=write writes down what happens in place of comparing it; read the difference before you believe it.
"""

import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import accounts, challenge, matrix, network
from lab.causes import CAUSES
from lab.person import Person
from lab.process import wait_until
from lab.ssh import Client
from lab.sshd import Sshd
from lab.stack import Stack
from matrix import table

POLICIES = table.policies()


class Lab:
    """Everything of one policy."""

    def __init__(self, directory, policy, syslog, way):
        self.syslog, self.directory, self.network = syslog, directory, way
        server = {"port": network.PORT, "listen": network.ADDRESS, "inside": network.INSIDE}
        self.stack = Stack(directory, tls=way.tls, server={"origin": f"https://{network.NAME}", **server})
        self.network.holds(self.stack.server)
        self.phones = {user: self.stack.approver(user) for user in policy.get("phones", ["alice"])}
        self.phone = self.phones["alice"]
        self.codes, self._one_at_once = [], threading.Lock()
        # Of logins that follow one another, as soon as each is decided.
        self.turn = threading.Lock()
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
        status = self.stack.daemon.status
        wait_until(lambda: status()["connected"], 20, f"the daemon is connected again: {status()}")
        for phone in self.phones.values():
            self._looked_at(phone)

    @staticmethod
    def _looked_at(phone):
        """It connects at once then."""
        phone.stop()
        before = len(phone.all("connected"))
        phone.start()
        wait_until(lambda: len(phone.all("connected")) > before, 10, "the phone is connected again")

    def recovery_code(self):
        with self._one_at_once:
            # New ones end those that are left.
            if not self.codes:
                self.codes = self.stack.daemon.command("codes", "alice", "--recovery")["codes"]
            return self.codes.pop()

    def totp_code(self, user):
        """The authenticator's code, of a new secret, which ends those before."""
        key = self.stack.daemon.command("codes", user, "--totp")["secret"]
        return subprocess.run(["oathtool", "--totp", "-b", key], check=True, capture_output=True, text=True).stdout.strip()

    def phone_code(self, screen):
        """The eight digits that the phone makes of the last QR code on the screen."""
        with self._one_at_once:
            scanned, _ = challenge.scan(re.split(challenge.ABOVE, screen)[-1], self.directory)
            return challenge.code(self.phone, scanned)

    def play(self, causes):
        """What happens to each service, by the causes, which are played together."""
        for cause in causes:
            CAUSES[cause].begin(self)
        try:
            # What was denied, reported, mistyped or left alone before must not matter now.
            if self.stack.daemon.process.alive():
                self.stack.daemon.command("unblock", "--all")
            with ThreadPoolExecutor(len(causes)) as pool:
                return dict(zip(causes, pool.map(self._all_services, causes, causes.values())))
        finally:
            for cause in causes:
                CAUSES[cause].end(self)

    def _all_services(self, name, services):
        cause, found = CAUSES[name], {}
        at_once = cause.at_once or len(services)
        # Where nothing can be typed there is more to wait for: together.
        services = sorted(services, key=lambda service: matrix.SERVICES[service].asks)
        for first in range(0, len(services), at_once):
            group = services[first:first + at_once]
            if first:
                self.stack.daemon.command("unblock", "--all")
            barrier = threading.Barrier(len(group))
            with ThreadPoolExecutor(len(group)) as pool:
                found.update(zip(group, pool.map(self._login, [cause] * len(group), group, [barrier] * len(group))))
        return {service: found[service] for service in matrix.SERVICES if service in found}

    def _login(self, cause, service, all_asked):
        with Person(self, cause, service, all_asked) as person:
            return matrix.play(self, service, cause.user, person)

    def stop(self):
        self.stack.stop()


def in_turn(policy):
    """The causes with their services: alone, or together with those that are beside."""
    rounds = []
    for cause in table.causes_of(policy):
        if not (rounds and CAUSES[cause].beside and all(CAUSES[other].beside for other in rounds[-1])):
            rounds.append({})
        rounds[-1][cause] = table.services_of(policy, cause)
    return rounds


@pytest.fixture
def way(tmp_path):
    """The network on which the server is."""
    made = network.Network(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_cell_is_what_happens(policy, tmp_path, syslog, way):
    # `clean` puts the usual services back.
    matrix.protect(POLICIES[policy].get("module", ""))
    lab = Lab(tmp_path, POLICIES[policy], syslog, way)
    found, opened = {}, []
    try:
        for together in in_turn(POLICIES[policy]):
            began = time.monotonic()
            played = lab.play(together)
            print(f"{', '.join(together)}: {time.monotonic() - began:.1f} s")
            for cause, services in played.items():
                found[cause] = {service: one.cell() for service, one in services.items()}
                opened += [(cause, service, one) for service, one in services.items() if one.opened != table.opens(one.result)]
    finally:
        lab.stop()
    assert not opened, "\n".join(f"{cause}, {service}: {one.result}, but opened: {one.opened}" for cause, service, one in opened)
    if os.environ.get("COUNTERSIGN_MATRIX") == "write":
        return table.write_cells(policy, found)
    assert found == table.cells()[policy]


def test_the_tables_of_the_documentation_are_made_of_the_cells():
    assert table.DOCUMENT.read_text() == table.with_tables(table.DOCUMENT.read_text())
