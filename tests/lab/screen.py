"""Screens that nobody sits at: an X server, and a Wayland compositor without an output; what is shown on them, and who
types there."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from . import accounts
from .process import Process, wait_until

RUNTIME = Path("/run/user")
# Pictures of the documentation: few colours, small files.
COLOURS = 32
SCALE = "640x"

SIZE = "800x600"
SWAY = """output * resolution {size} background {wallpaper} fill
"""


def missing(*programs):
    """Those of the programs that are not there."""
    return [program for program in programs if not shutil.which(program)]


def wallpaper(user, file):
    """What stands on the user's desktop."""
    argv = ["convert", "-size", SIZE, "xc:#205080", "-fill", "white", "-font", "DejaVu-Sans", "-pointsize", "32"]
    argv += ["-gravity", "center", "-annotate", "0", f"{user}'s desktop", f"PNG8:{file}"]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def runtime_of(user):
    """The user's directory below /run/user, as logind makes it."""
    entry = pwd.getpwnam(user)
    place = RUNTIME / str(entry.pw_uid)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    os.chown(place, entry.pw_uid, entry.pw_gid)
    return place


class Screen:
    """An X server with one user's programs on it."""

    def __init__(self, directory, user="alice"):
        self.directory, self.user = directory, user
        self.runtime = runtime_of(user)
        argv = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp", "-ac", "-noreset"]
        self.x = Process("Xvfb", argv, directory / "xvfb.log")
        found = wait_until(
            lambda: re.search(r"^(\d+)\n", self.x.log(), re.MULTILINE), 20, f"Xvfb's display; it said:\n{self.x.log()}"
        )
        self.display = f":{found[1]}"
        wallpaper(user, directory / "wallpaper.png")
        before = self.pixels()
        # It says 1 whatever has come of it.
        subprocess.run(
            ["display", "-window", "root", directory / "wallpaper.png"], timeout=20, env={**os.environ, "DISPLAY": self.display}
        )
        self.wait_changed(before)

    def start(self, name, *argv, **environment):
        """A program of the user's."""
        settings = {"DISPLAY": self.display, "XDG_RUNTIME_DIR": self.runtime, **environment}
        words = [*[f"{key}={value}" for key, value in settings.items()], *argv]
        return Process(name, accounts.as_user_argv(self.user, *words), self.directory / f"{name}.log")

    def _run(self, *argv):
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, timeout=20, env={**os.environ, "DISPLAY": self.display}
        )
        assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def type(self, text):
        """Types it and presses Enter."""
        self._run("xdotool", "type", "--delay", "15", text)
        self.press("Return")

    def press(self, key):
        self._run("xdotool", "key", key)

    def pixels(self):
        """What is shown, to see whether something else is."""
        return self._run("import", "-silent", "-window", "root", "-depth", "8", "rgb:-")

    def wait_changed(self, before, seconds=10):
        wait_until(lambda: self.pixels() != before, seconds, "something else on the screen", interval=0.1)

    def wait_still(self, seconds=10):
        """Waits until two looks, a moment apart, see the same."""
        seen = [b""]

        def still():
            seen.append(self.pixels())
            return seen[-1] == seen[-2]

        wait_until(still, seconds, "a screen that stands still", interval=0.15)

    def picture(self, file):
        self._run("import", "-silent", "-window", "root", file)

    def stop(self):
        self.x.stop()


class Compositor:
    """sway without an output, with one user's programs on it."""

    def __init__(self, directory, user="alice"):
        self.directory, self.user = directory, user
        self.runtime = runtime_of(user)
        # What it reads is where the user reads, too.
        config, picture = self.runtime / "sway.conf", self.runtime / "wallpaper.png"
        wallpaper(user, picture)
        picture.chmod(0o644)
        config.write_text(SWAY.format(size=SIZE, wallpaper=picture))
        self.environment = {"XDG_RUNTIME_DIR": self.runtime}
        headless = {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman", "LIBSEAT_BACKEND": "noop"}
        self.sway = self.start("sway", "sway", "-c", config, **headless)
        self.environment["WAYLAND_DISPLAY"] = wait_until(
            self._socket, 20, f"sway's socket; it said:\n{self.sway.log()}"
        ).name
        self.environment["SWAYSOCK"] = wait_until(
            lambda: next(self.runtime.glob("sway-ipc.*.sock"), None), 20, "sway's second socket"
        )
        # A keyboard that stays: what is typed on one that has just come is not heard by who does not know it yet.
        self.start("keyboard", "wtype", "-s", "600000")
        wait_until(lambda: b'"keyboard"' in self._run("swaymsg", "-r", "-t", "get_inputs"), 20, "a keyboard")

    def start(self, name, *argv, **environment):
        """A program of the user's."""
        settings = {**self.environment, **environment}
        words = [*[f"{key}={value}" for key, value in settings.items()], *argv]
        return Process(name, accounts.as_user_argv(self.user, *words), self.directory / f"{name}.log")

    def _socket(self):
        assert self.sway.alive(), self.sway.log()
        return next((place for place in self.runtime.glob("wayland-*") if place.suffix != ".lock"), None)

    def _run(self, *argv):
        words = [*[f"{key}={value}" for key, value in self.environment.items()], *argv]
        done = subprocess.run(
            [str(word) for word in accounts.as_user_argv(self.user, *words)], capture_output=True, timeout=20
        )
        assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def type(self, text):
        self._run("wtype", "-d", "15", text)
        self.press("Return")

    def press(self, key):
        self._run("wtype", "-k", key)

    def pixels(self):
        return self._run("grim", "-t", "ppm", "-")

    wait_changed = Screen.wait_changed
    wait_still = Screen.wait_still

    def picture(self, file):
        Path(file).write_bytes(self._run("grim", "-t", "png", "-"))

    def stop(self):
        self.sway.stop()


def keep(raw, file, scale=SCALE):
    """Makes a picture small enough for the documentation."""
    argv = ["convert", raw, "-strip", "-resize", scale, "-dither", "None", "-colors", str(COLOURS), f"PNG8:{file}"]
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
