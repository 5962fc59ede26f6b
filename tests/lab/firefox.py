"""The web approver in Firefox: a phone that is really rung, by a push service, on a real desktop's notifications."""

import shutil
from pathlib import Path

from .browser import WEB, Browser
from .page import OPEN
from .phone import Phone


def missing():
    """What is not there to drive Firefox with; None when all is there."""
    if not shutil.which("firefox-esr"):
        return "firefox-esr"
    parts = [WEB / "node_modules" / name for name in ("puppeteer-core", "ws", "http_ece")]
    return next((str(part) for part in map(Path, parts) if not part.exists()), None)


class FirefoxPhone(Phone):
    """A phone of its own, which a push service rings and a desktop shows."""

    def __init__(self, origin, push, desktop, directory, name="phone"):
        self.push = push
        self.desktop = desktop
        directory.mkdir(parents=True, exist_ok=True)
        self._driver = None
        super().__init__(origin, name, directory=str(directory))

    def open(self):
        self._driver = Browser("firefox.mjs", environment=self.desktop.environment)
        self._driver.listen(self.id, self.events.append)
        self._driver.call(self.id, "open", seconds=90, preferences=self.push.preferences, **self.options)
        OPEN.append(self)

    def do(self, action, **words):
        return self._driver.call(self.id, action, **words)

    def close(self):
        if self in OPEN:
            OPEN.remove(self)
            self._driver.close()

    def start_pairing(self, notify=True):
        super().start_pairing(notify)

    def leave(self):
        """Puts the phone away: no page of the app is open any more."""
        self.do("leave")

    def come_back(self):
        self.goto(self.origin)
        self.connected()

    def opened(self):
        """Goes on in the page that a click on a notification has opened."""
        self.do("newest")
        self.connected()

    def notifications(self):
        """What the service worker shows now, as the page sees it."""
        return self.evaluate(
            """async () => (await (await navigator.serviceWorker.ready).getNotifications()).map(
              ({ title, body, tag, actions }) => ({ title, body, tag, actions: (actions ?? []).map(({ action }) => action) }))"""
        )
