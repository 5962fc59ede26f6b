"""Fixtures: the private host, and the parts of Countersign on it, fresh for every test."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import accounts, page, pam, process, terminal  # noqa: E402
from lab.browser import Browser  # noqa: E402
from lab.stack import Stack  # noqa: E402
from lab.syslog import Syslog  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "openssh: depends on the OpenSSH release; runs on the newer one too")
    config.addinivalue_line("markers", "polkit: depends on polkit's release; runs on the newer one too")
    config.addinivalue_line("markers", "quiet: measures times; tests/all runs it with nothing beside it")
    config.addinivalue_line("markers", "screenshots: takes the README's pictures; only when asked for")
    if not os.environ.get("COUNTERSIGN_LAB"):
        pytest.exit("these tests change accounts and /etc: start them with tests/run", returncode=2)


def pytest_collection_modifyitems(items):
    """Where there is no browser to be had (Ubuntu has it as a snap only), its tests are left out; never in CI."""
    missing = Browser.missing()
    if missing and not os.environ.get("CI"):
        for item in items:
            if item.path.name.startswith("test_web_"):
                item.add_marker(pytest.mark.skip(reason=f"{missing} is not there"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the programs behind it said."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for running in process.RUNNING:
            report.sections.append((f"output of {running.name}", running.log()[-8000:]))
        for opened in page.OPEN:
            report.sections.append((f"page of {opened.id}", opened.said()[-8000:]))
        log = item.funcargs.get("syslog") if hasattr(item, "funcargs") else None
        if log:
            report.sections.append(("system log", "\n".join(log.lines(after=log.since))))


@pytest.fixture(scope="session")
def syslog():
    return Syslog()


@pytest.fixture(scope="session", autouse=True)
def host(syslog):
    """The accounts and the PAM services."""
    accounts.create()
    pam.protect()
    yield pam.services()
    Browser.end()


@pytest.fixture(autouse=True)
def clean(host, syslog):
    """Leaves nothing running and no key or PAM service changed behind."""
    syslog.since = syslog.mark()
    yield
    page.close_all()
    for screen in terminal.OPEN:
        screen.kill()
    terminal.OPEN.clear()
    for running in list(process.RUNNING):
        running.stop()
    for user in accounts.PASSWORDS:
        accounts.reset_home(user)
    pam.put_back(host)


@pytest.fixture
def up(tmp_path, clean):
    """Starts everything: up(wait="5s") has that setting in [default]."""
    stacks = []

    def start(**settings):
        stacks.append(Stack(tmp_path, **settings))
        return stacks[-1]

    yield start
    for stack in stacks:
        stack.stop()


@pytest.fixture
def stack(up):
    """Everything with the usual settings."""
    return up()
