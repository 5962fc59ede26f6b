"""Fixtures: machines for each file of tests, thrown away after it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

if not os.environ.get("COUNTERSIGN_MACHINES"):
    pytest.exit("these tests boot machines: start them with tests/packages/run", returncode=2)

from machine import DEBS, SCRATCH, Machine  # noqa: E402
from setting import Site  # noqa: E402

from lab import process, terminal  # noqa: E402

BOOTED = []
# Of a protected host.
PACKAGES = ("countersign", "libpam-countersign")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the machines said meanwhile."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for machine in BOOTED:
            said = machine.journal("-n", "80") if machine.running() else machine.console()
            report.sections.append((f"journal of {machine.name}", said))
        for running in process.RUNNING:
            report.sections.append((f"output of {running.name}", running.log()[-4000:]))


@pytest.fixture(scope="module")
def machine():
    """Boots a machine of that name: machine("host")."""

    def start(name, **options):
        BOOTED.append(Machine(name, **options))
        return BOOTED[-1].boot()

    yield start
    for booted in BOOTED:
        booted.close()
    BOOTED.clear()


@pytest.fixture(scope="module")
def site(machine, tmp_path_factory):
    """A host, a server and a laptop, as their owners have them before they know of Countersign."""
    site = Site(machine, tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture(scope="module")
def protected(site):
    """The README followed to its end: sshd and sudo ask alice's phone on the laptop; rescue is the break-glass account."""
    site.follow_readme(upto="countersign enable")
    site.protect("sshd", "sudo")
    site.host.run("gpasswd", "--add", "rescue", "countersign-breakglass")
    return site


@pytest.fixture(scope="module")
def newer(site):
    """The same packages once more, as a newer version."""
    directory = site.host.root / "root/newer"
    directory.mkdir()
    for name in PACKAGES:
        (deb,) = DEBS.glob(f"{name}_*.deb")
        tree = SCRATCH / f"newer-{name}"
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        text = re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.MULTILINE)
        control.write_text(text)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, directory / f"{name}_newer.deb"],
            check=True, capture_output=True,
        )  # fmt: skip
    return "/root/newer"


@pytest.fixture(autouse=True)
def clean():
    """No terminal that a test has opened outlives it."""
    before = len(terminal.OPEN)
    yield
    while len(terminal.OPEN) > before:
        terminal.OPEN.pop().kill()
