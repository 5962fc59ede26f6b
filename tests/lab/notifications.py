"""A desktop of its own for notifications: an X server without a screen, a session bus, and the dunst daemon."""

import os
import re
import shutil
import subprocess

from .process import Process, wait_until

PROGRAMS = ("Xvfb", "dbus-daemon", "dunst", "dunstctl", "dbus-send", "xdotool", "import")

# No service of the machine is started by this bus.
BUS = """<busconfig>
  <type>session</type>
  <listen>unix:path={listen}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"""

# A click presses the button that a rule names; without a rule it is the popup's own, which answers nothing.
DUNST = """[global]
    markup = full
    width = 460
    height = 400
    offset = 20x20
    notification_limit = 10
    show_indicators = no
    font = DejaVu Sans 10
    mouse_left_click = do_action
[urgency_critical]
    timeout = 0
[press-approve]
    appname = Countersign
    action_name = approve
    enabled = {approve}
[press-deny]
    appname = Countersign
    action_name = deny
    enabled = {deny}
[press-web-deny]
    appname = Firefox
    action_name = deny-moz
    enabled = false
"""


def missing():
    """The programs that are not there."""
    return [program for program in PROGRAMS if not shutil.which(program)]


class Desktop:
    """A person's desktop."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.x = Process(
            "Xvfb", ["Xvfb", "-displayfd", "1", "-screen", "0", "900x700x24", "-nolisten", "tcp"], directory / "xvfb.log"
        )
        display = wait_until(
            lambda: re.search(r"^(\d+)\n", self.x.log(), re.MULTILINE), 20, f"Xvfb's display; it said:\n{self.x.log()}"
        )
        config = directory / "bus.conf"
        listen = directory / "bus"
        config.write_text(BUS.format(listen=listen))
        self.bus = Process("dbus-daemon", ["dbus-daemon", f"--config-file={config}", "--nofork"], directory / "bus.log")
        wait_until(listen.exists, 10, f"the bus; it said:\n{self.bus.log()}")
        self.environment = {
            "DISPLAY": f":{display.group(1)}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={listen}",
            # There is no logind here, and the machine's own has no part in this.
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={directory}/no-system-bus",
            "HOME": str(directory),
        }
        self.daemon = None
        self.start_daemon()

    def start_daemon(self, press=None):
        """The notification daemon comes (back)."""
        config = self.directory / "dunstrc"
        rules = {name: str(name == press).lower() for name in ("approve", "deny")}
        config.write_text(DUNST.format(**rules))
        log = self.directory / "dunst.log"
        log.unlink(missing_ok=True)
        self.daemon = Process("dunst", ["dunst", "-conf", config, "-print"], log, env=self.environment)
        wait_until(lambda: self.ctl("count", "displayed", check=False).isdigit(), 10, "dunst answers")

    def will_press(self, button):
        """What a click does to the popups that come from now on."""
        for name in ("approve", "deny", "web-deny"):
            self.ctl("rule", f"press-{name}", "enable" if name == button else "disable")

    def ctl(self, *words, check=True):
        """dunstctl; returns what it says."""
        done = subprocess.run(
            ["dunstctl", *words], capture_output=True, text=True, timeout=10, env={**os.environ, **self.environment}
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def count(self):
        """How many popups are on the screen."""
        return int(self.ctl("count", "displayed"))

    def wait_count(self, count, seconds=5):
        wait_until(lambda: self.count() == count, seconds, f"{count} popups; there are {self.count()}:\n{self.daemon.log()}")

    def shown(self):
        """All that was shown so far, one a popup or its change: a pair of summary and body."""
        parts = re.split(r"^\{$", self.daemon.log(), flags=re.MULTILINE)[1:]
        found = [re.search(r"summary: '(.*?)'\n\tbody: '(.*?)'\n\ticon:", part, re.DOTALL) for part in parts]
        return [match.groups() for match in found if match]

    def wait_shown(self, text, seconds=5):
        """The first popup whose summary or body holds the text."""

        def find():
            return next((popup for popup in self.shown() if any(text in part for part in popup)), None)

        return wait_until(find, seconds, f"a popup with {text!r}; shown were:\n{self.shown()}")

    def click(self):
        """Clicks on the first popup, with the mouse."""
        # It is in the daemon's log a moment before it is on the screen.
        search = ["xdotool", "search", "--onlyvisible", "--class", "dunst"]
        windows = wait_until(lambda: self._x(*search, check=False).split(), 5, "a popup on the screen")
        self._x("xdotool", "mousemove", "--window", windows[0], "60", "20", "click", "1")

    def screenshot(self, path):
        """What a person would see."""
        self._x("import", "-window", "root", str(path))
        return path

    def _x(self, *argv, check=True):
        env = {**os.environ, **self.environment}
        return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=10, env=env).stdout
