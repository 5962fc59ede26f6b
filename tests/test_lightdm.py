"""LightDM and its gtk greeter, in a Debian that has them: tests/lab/rootfs bookworm desktop, then
tests/run --suite bookworm-desktop test_lightdm.py."""

import os
import subprocess

import pytest
from lab import lightdm, lockers, paths

USER = lockers.USER

pytestmark = pytest.mark.skipif(lightdm.missing, reason="no lightdm on this machine: tests/run --suite bookworm-desktop")


@pytest.fixture
def greeter(stack, tmp_path):
    done = subprocess.run(
        [paths.COMMAND, "enable", "lightdm", "--module", paths.MODULE, "--yes", "--no-test", "--within", "100"],
        capture_output=True, text=True, env={**os.environ, "SUDO_USER": USER},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lightdm.desktop(USER)
    shown = lightdm.LightDM(tmp_path)
    yield shown
    shown.stop()
    subprocess.run([paths.COMMAND, "disable", "--all"], capture_output=True)


def test_a_password_and_the_code_open_a_session(stack, greeter, tmp_path):
    phone = stack.approver(USER)
    greeter.types(USER)
    greeter.types(lockers.PASSWORD)
    request = phone.next_request()
    assert (request["service"], request["kind"], request["confirm"]) == ("lightdm", "login", "code")
    assert request["user"] == USER
    lightdm.keep(greeter, tmp_path, "desktop/lightdm-waiting")
    greeter.type(phone.approve(request))
    greeter.wait_desktop(USER)
    lightdm.keep(greeter, tmp_path, "desktop/lightdm-approved")


def test_a_no_opens_none(stack, greeter, tmp_path):
    phone = stack.approver(USER)
    greeter.types(USER)
    greeter.types(lockers.PASSWORD)
    phone.decide(phone.next_request(), "deny")
    # What it says; two seconds later the greeter's own words for a wrong password take its place.
    greeter.types("")
    lightdm.keep(greeter, tmp_path, "desktop/lightdm-denied")
    assert not lightdm.sessions(USER)
