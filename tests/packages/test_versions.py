"""This version beside the one before: module and daemon, host and server. A login is approved, another one denied, each time.

COUNTERSIGN_PREVIOUS is a folder with the earlier programs; tests/packages/previous builds them.
"""

import os
import shutil
from pathlib import Path

import pytest
from setting import NO_OTHER, PASSWORDS

from lab.process import wait_until
from lab.terminal import CODE

PREVIOUS = os.environ.get("COUNTERSIGN_PREVIOUS")
pytestmark = pytest.mark.skipif(not PREVIOUS, reason="no programs of the version before (tests/packages/previous)")


class Part:
    """A program in its place; `swap` puts the version before there, and a second time this one."""

    def __init__(self, machine, place, name, units=()):
        self.machine, self.place, self.name, self.units = machine, machine.path(place), name, units
        self.kept = self.place.with_name(f"{self.place.name}.this-version")
        shutil.copy2(self.place, self.kept)

    def put(self, file):
        # Renamed over it: it may be running.
        new = self.place.with_name(f"{self.place.name}.new")
        shutil.copyfile(file, new)
        new.chmod(self.kept.stat().st_mode)
        new.rename(self.place)
        for unit in self.units:
            self.machine.run("systemctl", "restart", unit)

    def older(self):
        self.put(Path(PREVIOUS) / self.name)

    def restore(self):
        self.put(self.kept)


@pytest.fixture(scope="module")
def parts(protected):
    host, server = protected.host, protected.server
    (module,) = host.root.glob("usr/lib/*/security/pam_countersign.so")
    module = f"/{module.relative_to(host.root)}"
    return {
        "module": Part(host, module, "libpam_countersign.so"),
        "daemon": Part(host, "/usr/sbin/countersignd", "countersignd", ["countersignd"]),
        "server": Part(server, "/usr/sbin/countersign-server", "countersign-server", ["countersign-server"]),
    }


@pytest.mark.parametrize(
    "older",
    [("daemon",), ("module",), ("server",), ("module", "daemon")],
    ids=["new module, old daemon", "old module, new daemon", "new host, old server", "old host, new server"],
)
def test_versions_that_follow_each_other_work_together(protected, parts, older):
    host, phone = protected.host, protected.phone
    for name in older:
        parts[name].older()
    try:
        wait_until(lambda: host.run("countersign", "status", check=False).returncode == 0, 30, "the host is connected")
        host.run("countersign", "unblock", "--all")
        phone.skip()

        approved = protected.ssh("alice", "echo", "in as", "alice")
        approved.answer_password(PASSWORDS["alice"])
        approved.answer_code(phone.yes())
        assert approved.finish() == 0 and "in as alice" in approved.text

        denied = protected.ssh("alice", "echo", "in as", "alice", options=NO_OTHER)
        denied.answer_password(PASSWORDS["alice"])
        denied.expect(CODE)
        phone.no()
        denied.send("")
        denied.expect("Denied on the phone")
        assert denied.finish() != 0 and "in as alice" not in denied.text
    finally:
        for name in older:
            parts[name].restore()
