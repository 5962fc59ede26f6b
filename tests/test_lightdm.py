"""LightDM and its gtk greeter, in a Debian that has them: tests/lab/rootfs bookworm desktop, then
tests/run --suite bookworm-desktop test_lightdm.py."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lab import accounts, lockers, paths, screen
from lab.process import Process, wait_until

USER = lockers.USER
CONFIG = Path("/etc/lightdm/lightdm.conf.d/99lab.conf")
# lightdm calls it with arguments of a real X server's.
XVFB = """#!/bin/sh
display= auth=
while [ $# -gt 0 ]; do
  case $1 in
    :*) display=$1 ;;
    -auth) auth=$2; shift ;;
  esac
  shift
done
exec Xvfb "$display" -auth "$auth" -screen 0 800x600x24 -nolisten tcp -noreset
"""
SETTINGS = """[LightDM]
logind-check-graphical=false
lock-memory=false
[Seat:*]
xserver-command=/run/lab/xvfb
greeter-session=lightdm-gtk-greeter
greeter-hide-users=true
greeter-show-manual-login=true
user-session=openbox
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("lightdm") or not os.environ.get("COUNTERSIGN_LAB"),
    reason="no lightdm on this machine: tests/run --suite bookworm-desktop",
)


class Greeter(screen.Screen):
    """LightDM, on an X server without a screen."""

    def __init__(self, directory):
        self.directory = directory
        script = Path("/run/lab/xvfb")
        script.write_text(XVFB)
        script.chmod(0o755)
        CONFIG.parent.mkdir(parents=True, exist_ok=True)
        CONFIG.write_text(SETTINGS)
        bus = Path("/run/dbus")
        bus.mkdir(exist_ok=True)
        self.bus = Process("dbus-daemon", ["dbus-daemon", "--system", "--nofork", "--nopidfile"], directory / "bus.log")
        wait_until((bus / "system_bus_socket").exists, 10, f"the bus; it said:\n{self.bus.log()}")
        self.x = Process("lightdm", ["lightdm", "--debug"], directory / "lightdm.log")
        self.display = ":0"
        authority = Path("/run/lightdm/root/:0")
        wait_until(authority.exists, 20, f"lightdm's X server; it said:\n{self.x.log()}")
        os.environ["XAUTHORITY"] = str(authority)
        wait_until(self._answers, 20, f"lightdm's X server answers; it said:\n{self.x.log()}")
        wait_until(lambda: len(set(self.pixels())) > 8, 30, f"the greeter; lightdm said:\n{self.x.log()}", interval=0.3)
        self.wait_still()

    def _answers(self):
        try:
            return bool(self.pixels())
        except AssertionError:
            return False

    def types(self, text):
        """Types it, and waits for what comes of it."""
        before = self.pixels()
        self.type(text)
        self.wait_changed(before)
        self.wait_still()

    def stop(self):
        self.x.stop()
        self.bus.stop()
        os.environ.pop("XAUTHORITY", None)


@pytest.fixture
def greeter(stack, tmp_path):
    done = subprocess.run(
        [paths.COMMAND, "enable", "lightdm", "--module", paths.MODULE, "--yes", "--no-test", "--within", "100"],
        capture_output=True, text=True, env={**os.environ, "SUDO_USER": USER},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    autostart = accounts.HOMES / USER / ".config/openbox/autostart"
    autostart.parent.mkdir(parents=True)
    screen.wallpaper(USER, "/run/lab/wallpaper.png")
    os.chmod("/run/lab/wallpaper.png", 0o644)
    autostart.write_text("display -window root /run/lab/wallpaper.png\n")
    subprocess.run(["chown", "-R", f"{USER}:", accounts.HOMES / USER], check=True)
    shown = Greeter(tmp_path)
    yield shown
    shown.stop()
    subprocess.run([paths.COMMAND, "disable", "--all"], capture_output=True)


def is_in():
    """Whether the user's session runs."""
    return subprocess.run(["pgrep", "-u", USER, "-x", "openbox"], capture_output=True).returncode == 0


@pytest.fixture
def keep(request, tmp_path):
    """keep(greeter, name): a picture for docs/desktop.md, where `-m screenshots` asks for them."""

    def keep(greeter, name):
        raw = tmp_path / "raw.png"
        greeter.picture(raw)
        if PICTURES:
            screen.keep(raw, Path(PICTURES) / f"lightdm-{name}.png")

    return keep


# The machine's disk is read only here: pictures are left where tests/run can be told to find them.
PICTURES = os.environ.get("COUNTERSIGN_PICTURES")


def test_a_password_and_the_code_open_a_session(stack, greeter, keep):
    phone = stack.approver(USER)
    greeter.types(USER)
    greeter.types(lockers.PASSWORD)
    request = phone.next_request()
    assert (request["service"], request["kind"], request["confirm"]) == ("lightdm", "login", "code")
    assert request["user"] == USER
    greeter.wait_still()
    keep(greeter, "waiting")
    greeter.type(phone.approve(request))
    wait_until(is_in, 30, f"a session; lightdm said:\n{greeter.x.log()[-4000:]}")
    greeter.wait_still()
    keep(greeter, "approved")


def test_a_no_opens_none(stack, greeter, keep):
    phone = stack.approver(USER)
    greeter.types(USER)
    greeter.types(lockers.PASSWORD)
    phone.decide(phone.next_request(), "deny")
    greeter.types("")
    keep(greeter, "denied")
    assert not is_in()
