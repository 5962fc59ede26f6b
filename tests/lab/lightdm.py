"""LightDM with its gtk greeter, on X servers without a screen. There are no virtual terminals here: each of its X servers has a number
of one all the same, and in front is the one whose number LightDM has activated last."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import accounts, screen
from .process import Process, wait_until

GREETER = "lightdm"
CONFIG = Path("/etc/lightdm/lightdm.conf.d/99lab.conf")
LAB = Path("/run/lab")
# lightdm calls it with arguments of a real X server's.
XVFB = """#!/bin/sh
display= auth= terminal=none
while [ $# -gt 0 ]; do
  case $1 in
    :*) display=$1 ;;
    -auth) auth=$2; shift ;;
    vt*) terminal=$1 ;;
  esac
  shift
done
echo "$display" >"/run/lab/$terminal"
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
# The first pixel of screen.wallpaper().
DESKTOP = bytes.fromhex("205080")
# The machine's disk is read only here: pictures are left where tests/run can be told to find them.
PICTURES = os.environ.get("COUNTERSIGN_PICTURES")
missing = not shutil.which("lightdm") or not os.environ.get("COUNTERSIGN_LAB")


class LightDM(screen.Screen):
    """What is seen and typed at its seat."""

    def __init__(self, directory):
        self.directory, self.stays = directory, None
        script = LAB / "xvfb"
        script.write_text(XVFB)
        script.chmod(0o755)
        CONFIG.parent.mkdir(parents=True, exist_ok=True)
        CONFIG.write_text(SETTINGS)
        bus = Path("/run/dbus")
        bus.mkdir(exist_ok=True)
        self.bus = Process("dbus-daemon", ["dbus-daemon", "--system", "--nofork", "--nopidfile"], directory / "bus.log")
        wait_until((bus / "system_bus_socket").exists, 10, f"the bus; it said:\n{self.bus.log()}")
        self.x = Process("lightdm", ["lightdm", "--debug"], directory / "lightdm.log")
        self.wait_greeter(0)

    def activated(self):
        """The numbers of the terminals that were brought to the front, one after the other."""
        return re.findall(r"Activating VT (\d+)", self.x.log())

    @property
    def display(self):
        """The X server in front."""
        return (LAB / f"vt{self.stays or self.activated()[-1]}").read_text().strip()

    def stays_at(self, terminal):
        """Looks at that one from now on, whatever is activated."""
        self.stays = terminal

    def _run(self, *argv):
        os.environ["XAUTHORITY"] = f"/run/lightdm/root/{self.display}"
        return super()._run(*argv)

    def press(self, key):
        """Presses a key, which may let somebody in: then the greeter's X server is gone before xdotool has ended."""
        try:
            super().press(key)
        except AssertionError as error:
            if not re.search(r"X connection to :\d+ broken", str(error)):
                raise

    def wait_greeter(self, switches):
        """Waits for a greeter in front, after so many switches, that can be typed at."""
        wait_until(lambda: len(self.activated()) > switches, 30, f"a greeter in front; lightdm said:\n{self.x.log()[-4000:]}")
        wait_until(self._is_drawn, 30, f"the greeter; lightdm said:\n{self.x.log()[-4000:]}", interval=0.3)
        self.wait_still()

    def _is_drawn(self):
        try:
            return len(set(self.pixels())) > 8
        except AssertionError:
            return False

    def types(self, text, prompts=1):
        """Types it, and waits until PAM has said or asked so much more, and that is shown."""
        with self.prompted(prompts):
            self.type(text)

    @contextlib.contextmanager
    def prompted(self, prompts=1):
        """What is done within makes PAM say or ask so much more; waits until that is shown."""

        def count():
            return self.x.log().count("Prompt greeter with")

        before, goal = self.pixels(), count() + prompts
        yield
        wait_until(lambda: count() >= goal, 20, f"what PAM asks; lightdm said:\n{self.x.log()[-4000:]}")
        self.wait_changed(before)
        self.wait_still()

    def wait_desktop(self, user):
        """Waits until the user's session is in front, and drawn."""
        wait_until(lambda: sessions(user), 30, f"a session of {user}'s; lightdm said:\n{self.x.log()[-4000:]}")
        wait_until(lambda: self.pixels()[:3] == DESKTOP, 30, f"{user}'s desktop; lightdm said:\n{self.x.log()[-4000:]}", interval=0.3)
        self.wait_still()

    def tool(self, user, *words):
        """dm-tool, called by a program of the user's session."""
        place = environment_of(sessions(user)[0])["XDG_SEAT_PATH"]
        argv = accounts.as_user_argv(user, f"XDG_SEAT_PATH={place}", "dm-tool", *words)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr

    def stop(self):
        self.x.stop()
        self.bus.stop()
        os.environ.pop("XAUTHORITY", None)


def sessions(user):
    """The user's sessions: the process numbers of their window managers."""
    return subprocess.run(["pgrep", "-u", user, "-x", "openbox"], capture_output=True, text=True).stdout.split()


def environment_of(pid):
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def desktop(user):
    """What stands on the user's desktop."""
    autostart = accounts.HOMES / user / ".config/openbox/autostart"
    autostart.parent.mkdir(parents=True)
    picture = LAB / f"{user}.png"
    screen.wallpaper(user, picture)
    picture.chmod(0o644)
    autostart.write_text(f"display -window root {picture}\n")
    subprocess.run(["chown", "-R", f"{user}:", accounts.HOMES / user], check=True)


def keep(greeter, directory, name, crop=None):
    """A picture for the documents, where they were asked for; `crop`: WIDTHxHEIGHT of its middle, as large as it is."""
    if PICTURES:
        raw = directory / "raw.png"
        greeter.picture(raw)
        if crop:
            argv = ["convert", raw, "-gravity", "center", "-crop", f"{crop}+0+0", "+repage", raw]
            subprocess.run(argv, check=True, capture_output=True, timeout=20)
        screen.keep(raw, Path(PICTURES) / f"{name}.png", scale="640x>")
