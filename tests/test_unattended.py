"""Debian's unattended-upgrades with apt's hook turned on, and the guide's rules for it."""

import importlib.util
import pwd
import re
import subprocess

import pytest
from lab import paths
from lab.repository import AptRoot, Repository

PROGRAM = paths.REPOSITORY / ".build/unattended-upgrades/usr/bin/unattended-upgrade"
GUIDE = paths.REPOSITORY / "docs" / "admin-guide.md"

is_there = PROGRAM.exists() and all(map(importlib.util.find_spec, ("apt_pkg", "distro_info")))
pytestmark = pytest.mark.skipif(not is_there, reason="unattended-upgrades is not there: packaging/install-deps --tests")
NOT_APPROVED = "Countersign: not approved"

# Its main function, on a folder in place of the machine.
PLAYED = """
import importlib.machinery, importlib.util, sys
loader = importlib.machinery.SourceFileLoader("unattended_upgrade", sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(module)
options = module.Options()
options.verbose = options.minimal_upgrade_steps = True
sys.exit(module.main(options, sys.argv[2]))
"""

# As Debian's, but for whose packages it takes.
SETTINGS = """
Unattended-Upgrade::Origins-Pattern { "origin=%s"; };
Unattended-Upgrade::Remove-New-Unused-Dependencies "false";
Unattended-Upgrade::Remove-Unused-Kernel-Packages "false";
"""


@pytest.fixture
def apt(tmp_path):
    """Upgrades wait: of Debian's, one of them with a package that is new, as a kernel's, and of somebody else's."""
    debian, other = Repository(tmp_path / "debian", origin="Debian"), Repository(tmp_path / "other", origin="Other")
    debian.add("base", "1")
    debian.add("linux-image", "1")
    other.add("extra", "1")
    for one in (debian, other):
        one.publish()
    apt = AptRoot(tmp_path / "root", debian, other)
    apt.apt("install", "base", "linux-image", "extra")
    debian.add("base", "2")
    debian.add("linux-image", "2", Depends="linux-image-2")
    debian.add("linux-image-2", "2")
    other.add("extra", "2")
    for one in (debian, other):
        one.publish()
    apt.apt("update")
    # It looks for dpkg in the folder.
    for folder in ("usr/bin", "var/run"):
        (apt.root / folder).mkdir(parents=True)
    (apt.root / "usr/bin/dpkg").symlink_to("/usr/bin/dpkg")
    apt.turn_on()
    return apt


def upgrade(apt, origin):
    """As its timer runs it: nobody is logged in behind it, and there is no terminal. Returns what it said, there and in its log."""
    log = apt.root / "var/log/unattended-upgrades/unattended-upgrades-dpkg.log"
    log.unlink(missing_ok=True)
    (apt.root / "etc/apt/apt.conf.d/50unattended-upgrades").write_text(SETTINGS % origin)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", PLAYED, PROGRAM, apt.root], env=apt.environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, start_new_session=True, timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr + (log.read_text() if log.exists() else "")


def guides_rules():
    section = GUIDE.read_text().split("## Before packages are installed\n", 1)[1].split("\n## ", 1)[0]
    return re.search(r"```toml\n(.*?)```", section, re.DOTALL)[1]


def test_upgrades_by_themselves_pass_by_the_guides_rules_alone(stack, apt):
    phone = stack.approver("alice")
    before = apt.packages()
    said = upgrade(apt, "Debian")
    assert NOT_APPROVED in said and apt.packages() == before, said

    head, default, tail = stack.daemon.config.read_text().partition("[default]")
    stack.daemon.write_config(head + guides_rules() + default + tail)
    stack.daemon.stop()
    stack.daemon.start()
    said = upgrade(apt, "Debian")
    assert NOT_APPROVED not in said, said
    assert (apt.version("base"), apt.version("linux-image"), apt.version("linux-image-2")) == ("2", "2", "2"), said
    # What it takes of others' is stopped.
    said = upgrade(apt, "*")
    assert NOT_APPROVED in said and apt.version("extra") == "1", said
    assert phone.requests() == []
    # A person who installs the same is asked.
    running = subprocess.Popen(
        ["env", f"SUDO_UID={pwd.getpwnam('alice').pw_uid}", *apt.argv("install", "--reinstall", "base")], env=apt.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    request = phone.next_request()
    assert (request["action"], request["requester"]) == ("apt.install", "alice")
    phone.decide(request, "deny")
    assert running.wait(30) == 100, running.communicate()[0]
