"""Screen lockers, each on a screen of its own, run by the user whom they lock out."""

import os
import pwd
import subprocess

from . import accounts, pam
from .process import wait_until
from .screen import Compositor, Screen

USER = "alice"
PASSWORD = accounts.PASSWORDS[USER]

SETTINGS = """mode: blank
lock: True
lockTimeout: 0:00:00
passwdTimeout: 0:01:00
splash: False
fade: False
unfade: False
"""


class Locker:
    """A locker that covers the screen. `service` is the name that PAM hears from it."""

    service = ""
    programs = ()
    # Whether it shows its field once a key was pressed.
    sleeps = False

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        # The module says in the log what it is told to ask.
        pam.write(self.service, pam.lines(auth=True, session=False, arguments="debug"))
        self.screen = None
        self.program = None
        self.lock()

    def gives_password(self):
        if self.sleeps:
            before = self.screen.pixels()
            wait_until(lambda: self._wakes(before), 15, "something else on the screen")
            self.wait_ready()
        self.screen.type(PASSWORD)

    def _wakes(self, before):
        """A key that is pressed too early after locking is not heard; this one writes nothing into the field."""
        self.screen.press("BackSpace")
        try:
            self.screen.wait_changed(before, 2)
        except AssertionError:
            return False
        return True

    def wait_ready(self):
        """Waits until its field is there."""
        self.screen.wait_still()

    def is_locked(self):
        return self.program.alive()

    def wait_unlocked(self, seconds=10):
        wait_until(lambda: not self.is_locked(), seconds, f"{self.service} unlocks; it said:\n{self.said()}")

    def said(self):
        return self.program.log()

    def kill(self):
        self.program.kill()

    def end(self):
        """Takes it away, with its screen."""
        self.program.stop()
        self.screen.stop()


class I3lock(Locker):
    service = "i3lock"
    programs = ("Xvfb", "xdotool", "import", "i3lock", "display")

    def lock(self):
        self.screen = Screen(self.directory)
        before = self.screen.pixels()
        self.program = self.screen.start("i3lock", "i3lock", "--nofork", "--color", "305060")
        self.screen.wait_changed(before)


class Xsecurelock(Locker):
    service = "xsecurelock"
    programs = ("Xvfb", "xdotool", "import", "xsecurelock", "display")
    sleeps = True

    def lock(self):
        self.screen = Screen(self.directory)
        before = self.screen.pixels()
        self.program = self.screen.start(
            "xsecurelock", "xsecurelock", XSECURELOCK_PAM_SERVICE=self.service, XSECURELOCK_SAVER="saver_blank",
            XSECURELOCK_NO_COMPOSITE="1", XSECURELOCK_COMPOSITE_OBSCURER="0", XSECURELOCK_AUTH_TIMEOUT="60",
            XSECURELOCK_FONT="DejaVu Sans:size=18", XSECURELOCK_SHOW_DATETIME="0", XSECURELOCK_DISCARD_FIRST_KEYPRESS="1",
            XSECURELOCK_PASSWORD_PROMPT="asterisks",
        )  # fmt: skip
        self.screen.wait_changed(before)


class Xscreensaver(Locker):
    service = "xscreensaver"
    programs = ("Xvfb", "xdotool", "import", "xscreensaver", "xscreensaver-command", "display")
    sleeps = True

    def lock(self):
        self.screen = Screen(self.directory)
        home = accounts.HOMES / USER
        settings = home / ".xscreensaver"
        settings.write_text(SETTINGS)
        entry = pwd.getpwnam(USER)
        os.chown(settings, entry.pw_uid, entry.pw_gid)
        self.program = self.screen.start("xscreensaver", "xscreensaver", "--no-splash")
        wait_until(lambda: self._command("-time") == 0, 15, f"xscreensaver runs; it said:\n{self.said()}")
        before = self.screen.pixels()
        assert self._command("-lock") == 0
        wait_until(self.is_locked, 10, "xscreensaver has locked")
        self.screen.wait_changed(before)

    def wait_ready(self):
        """Its window never stands still: a bar in it shows how much time is left."""

    def _ask(self, word):
        argv = accounts.as_user_argv(USER, f"DISPLAY={self.screen.display}", "xscreensaver-command", word)
        return subprocess.run(argv, capture_output=True, text=True, timeout=10)

    def _command(self, word):
        return self._ask(word).returncode

    def is_locked(self):
        return "locked" in self._ask("-time").stdout


class Swaylock(Locker):
    service = "swaylock"
    programs = ("sway", "swaymsg", "swaylock", "grim", "wtype", "convert")

    def lock(self):
        self.screen = Compositor(self.directory)
        self.screen.wait_still()
        before = self.screen.pixels()
        self.program = self.screen.start(
            "swaylock", "swaylock", "--color", "305060", "--indicator-idle-visible", "--indicator-radius", "90"
        )
        self.screen.wait_changed(before)
        self.screen.wait_still()


ALL = (I3lock, Swaylock, Xsecurelock, Xscreensaver)
ONE_FIELD = (I3lock, Swaylock)
