"""A seat that people share: an X server a virtual terminal, a console or somebody's locked screen on it."""

import os
import re
import shutil
import subprocess
import time

from .accounts import as_user_argv
from .process import Process, wait_until

PROGRAMS = ("Xvfb", "xterm", "xdotool", "xset", "xss-lock", "xsecurelock", "import", "compare", "convert")
# Like a person's typing: a locker drops keys that come before its window is there.
BETWEEN_KEYS_MS = "30"
SIZE = "640x220"
# Pixels of a cursor that blinks, and seconds in which a program has drawn all that it is about to.
CURSOR, CALM = 400, 0.3


def missing():
    """The programs that are not there."""
    return [program for program in PROGRAMS if not shutil.which(program)]


class Screen:
    """What is on one virtual terminal of the seat."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        argv = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp", "-ac"]
        self.x = Process("Xvfb", argv, directory / "xvfb.log")
        shown = wait_until(
            lambda: re.search(r"^(\d+)\n", self.x.log(), re.MULTILINE), 20, f"Xvfb's display; it said:\n{self.x.log()}"
        )
        self.display = f":{shown.group(1)}"
        self.consoles = 0

    def _x(self, *argv):
        env = {**os.environ, "DISPLAY": self.display}
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20, env=env).stdout

    def type(self, text):
        """Types a line, Enter included."""
        if text:
            self._x("xdotool", "type", "--delay", BETWEEN_KEYS_MS, text)
        self.press("Return")

    def press(self, key):
        self._x("xdotool", "key", key)

    def picture(self, file):
        """What a person would see; few colours, a small file."""
        raw = self.look()
        subprocess.run(["convert", raw, "-strip", "-dither", "None", "-colors", "32", f"PNG8:{file}"], check=True)

    def look(self, name="screen"):
        """The screen as it is now, in a file."""
        raw = self.directory / f"{name}.png"
        self._x("import", "-window", "root", str(raw))
        return raw

    def wait_changed(self, seconds=15):
        """Waits until something else is on the screen than in the last `look("before")`, and stays there. A cursor that blinks is
        no change."""
        before, last = self.directory / "before.png", self.directory / "last.png"

        def is_other():
            last.unlink(missing_ok=True)
            self.look("last")
            time.sleep(CALM)
            now = self.look()
            return self._differs(before, now) and not self._differs(last, now)

        wait_until(is_other, seconds, "the screen changes")

    def _differs(self, one, other):
        done = subprocess.run(["compare", "-metric", "AE", one, other, "null:"], capture_output=True, text=True, timeout=20)
        return float(done.stderr.split()[0]) > CURSOR

    def console(self):
        """login, as getty starts it, on the whole screen. Returns what tells what is on it."""
        self.consoles += 1
        return Console(self, self.directory / f"console-{self.consoles}.log")

    def lock_when_idle(self, user, seconds):
        """The user's screen locks once nobody has touched it for so long."""
        self._x("xset", "s", str(seconds), "0")
        lock = ["xsecurelock"]
        env = [
            f"DISPLAY={self.display}", "XSECURELOCK_PAM_SERVICE=xsecurelock", "XSECURELOCK_SAVER=saver_blank",
            # There is no compositor, and a prompt waits as long as the phone may take.
            "XSECURELOCK_NO_COMPOSITE=1", "XSECURELOCK_COMPOSITE_OBSCURER=0", "XSECURELOCK_AUTH_TIMEOUT=60",
            # No logind here: the machine's own has no part in this.
            "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/lab/no-system-bus",
        ]  # fmt: skip
        argv = as_user_argv(user, "env", *env, "xss-lock", "--ignore-sleep", "--", *lock)
        return Locker(Process("xss-lock", argv, self.directory / "locker.log"))


class Console:
    """A console on which somebody may log in by name."""

    def __init__(self, screen, log):
        self.screen = screen
        argv = [
            "xterm", "-fa", "DejaVu Sans Mono", "-fs", "11", "-geometry", "78x11+0+0", "-b", "6", "-bw", "0",
            "-bg", "black", "-fg", "grey85", "+sb", "-l", "-lf", log, "-e", "login",
        ]  # fmt: skip
        log.unlink(missing_ok=True)
        self.log = log
        self.process = Process("xterm", argv, screen.directory / "xterm.log", env={"DISPLAY": screen.display})

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for(self, pattern, count=1, seconds=15):
        """Waits until the pattern is on the screen so often; returns how often it is."""

        def seen():
            found = len(re.findall(pattern, self.text()))
            return found if found >= count else None

        try:
            return wait_until(seen, seconds, f"{pattern!r} on the console")
        except AssertionError as error:
            raise AssertionError(f"{error}; on it:\n{self.text()}\n{self.process.log()}") from None

    def type(self, text):
        self.screen.type(text)

    def end(self, key):
        """Leaves it by a key: Ctrl-C at a prompt of login, Ctrl-D at a shell's."""
        self.screen.press(key)
        wait_until(lambda: not self.process.alive(), 10, f"the console's end; on it:\n{self.text()}")
        self.process.stop()


class Locker:
    """A screen's locker, and what starts it."""

    def __init__(self, watcher):
        self.watcher = watcher

    def is_locked(self):
        done = subprocess.run(["pgrep", "-x", "xsecurelock", "-g", str(self.watcher.pid)], capture_output=True, text=True)
        return bool(done.stdout.strip())

    def wait_locked(self, is_locked=True, seconds=15):
        what = f"the screen is {'locked' if is_locked else 'open'}; the locker said:\n{self.watcher.log()}"
        wait_until(lambda: self.is_locked() == is_locked, seconds, what)
