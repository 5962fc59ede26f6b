"""Screen lockers, each on a screen of its own, run by the user whom they lock out."""

import pwd
import signal
import subprocess

from . import accounts, pam
from .process import wait_until
from .screen import Compositor, Screen

USER = "alice"
PASSWORD = accounts.PASSWORDS[USER]


class Locker:
    """A locker that covers the screen. `service` is the name that PAM hears from it."""

    service = ""
    programs = ()
    # What the first key is for: to wake it.
    wakes = None

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        pam.write(self.service, pam.lines(auth=True, session=False))
        self.screen = None
        self.program = None
        self.lock()

    def gives_password(self):
        if self.wakes:
            before = self.screen.pixels()
            self.screen.press(self.wakes)
            self.screen.wait_changed(before)
            self.screen.wait_still()
        self.screen.type(PASSWORD)

    def is_locked(self):
        return self.program.alive()

    def wait_unlocked(self, seconds=10):
        wait_until(lambda: not self.is_locked(), seconds, f"{self.service} unlocks; it said:\n{self.said()}")

    def said(self):
        return self.program.log()

    def kill(self):
        self.program.kill()


class I3lock(Locker):
    service = "i3lock"
    programs = ("Xvfb", "xdotool", "import", "i3lock", "xsetroot")

    def lock(self):
        self.screen = Screen(self.directory)
        before = self.screen.pixels()
        self.program = self.screen.start("i3lock", "i3lock", "--nofork", "--color", "305060")
        self.screen.wait_changed(before)


class Xsecurelock(Locker):
    service = "xsecurelock"
    programs = ("Xvfb", "xdotool", "import", "xsecurelock", "xsetroot")
    wakes = "space"

    def lock(self):
        self.screen = Screen(self.directory)
        before = self.screen.pixels()
        self.program = self.screen.start(
            "xsecurelock", "xsecurelock", XSECURELOCK_PAM_SERVICE=self.service, XSECURELOCK_SAVER="saver_blank",
            XSECURELOCK_NO_COMPOSITE="1", XSECURELOCK_COMPOSITE_OBSCURER="0", XSECURELOCK_AUTH_TIMEOUT="60",
            XSECURELOCK_FONT="DejaVu Sans:size=13", XSECURELOCK_SHOW_DATETIME="0", XSECURELOCK_DISCARD_FIRST_KEYPRESS="1",
            XSECURELOCK_PASSWORD_PROMPT="asterisks",
        )  # fmt: skip
        self.screen.wait_changed(before)


class Xscreensaver(Locker):
    service = "xscreensaver"
    programs = ("Xvfb", "xdotool", "import", "xscreensaver", "xscreensaver-command", "xsetroot")
    wakes = "space"

    def lock(self):
        self.screen = Screen(self.directory)
        home = accounts.HOMES / USER
        settings = home / ".xscreensaver"
        settings.write_text("mode: blank\nlock: True\nlockTimeout: 0:00:00\npasswdTimeout: 0:01:00\nsplash: False\nfade: False\nunfade: False\n")
        entry = pwd.getpwnam(USER)
        import os

        os.chown(settings, entry.pw_uid, entry.pw_gid)
        self.program = self.screen.start("xscreensaver", "xscreensaver", "--no-splash")
        wait_until(lambda: self._command("-time") == 0, 15, f"xscreensaver runs; it said:\n{self.said()}")
        assert self._command("-lock") == 0
        wait_until(self.is_locked, 10, "xscreensaver has locked")

    def _ask(self, word):
        argv = accounts.as_user_argv(USER, f"DISPLAY={self.screen.display}", "xscreensaver-command", word)
        return subprocess.run(argv, capture_output=True, text=True, timeout=10)

    def _command(self, word):
        return self._ask(word).returncode

    def is_locked(self):
        return "locked" in self._ask("-time").stdout


class Swaylock(Locker):
    service = "swaylock"
    programs = ("sway", "swaylock", "grim", "wtype")

    def lock(self):
        # The same empty field is no try.
        self.screen = Compositor(self.directory, "swaylock", "--color", "305060", "--indicator-idle-visible")
        self.program = self.screen.sway
        self.pid = wait_until(self._pid, 20, f"swaylock runs; sway said:\n{self.program.log()}")
        self.screen.wait_still()

    def _pid(self):
        found = subprocess.run(["pgrep", "-o", "-x", "swaylock"], capture_output=True, text=True).stdout.split()
        return int(found[0]) if found else None

    def is_locked(self):
        return self._pid() is not None

    def said(self):
        return self.screen.log.read_text(errors="replace")

    def kill(self):
        import os

        os.kill(self.pid, signal.SIGKILL)


ALL = (I3lock, Swaylock, Xsecurelock, Xscreensaver)
ONE_FIELD = (I3lock, Swaylock)
