"""A phone's browser as a test sees it: what is on the page, what is done to it, what happened in it."""

import time

from .browser import NAMES, Browser, BrowserError
from .process import wait_until

# Everything that was opened, so that a failed test can show it and nothing outlives its test.
OPEN = []

# The widths and heights that the pages are looked at in.
PHONE = {"width": 360, "height": 740}
TABLET = {"width": 768, "height": 1024}
DESKTOP = {"width": 1440, "height": 900}


class Page:
    """One phone's browser. `options` are those of tests/web/phone.mjs: viewport, theme, locale, agent, scripts,
    permissions, and `directory` for a profile that outlives the browser."""

    def __init__(self, **options):
        self.id = next(NAMES)
        self.options = options
        self.events = []
        self.open()

    def open(self):
        browser = Browser.shared()
        browser.listen(self.id, self.events.append)
        browser.call(self.id, "open", **self.options)
        OPEN.append(self)

    def do(self, action, **words):
        return Browser.shared().call(self.id, action, **words)

    def goto(self, url):
        self.do("goto", url=url)

    def reload(self):
        self.do("reload")

    def url(self):
        return self.do("url")

    def evaluate(self, script, argument=None):
        """The value of a JavaScript function, called in the page."""
        return self.do("evaluate", script=script, argument=argument)

    def wait_until(self, script, argument=None, seconds=10, what=None):
        """Waits until the JavaScript function gives something true in the page; returns that."""
        what = f"{what or script} {argument or ''}"
        try:
            return wait_until(lambda: self.evaluate(script, argument), seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def click(self, **target):
        self.do("click", target=target)

    def fill(self, value, **target):
        self.do("fill", target=target, text=value)

    def press(self, *keys):
        for key in keys:
            self.do("press", key=key)

    def type(self, text):
        self.do("type", text=text)

    def count(self, **target):
        return self.do("count", target=target)

    def visible(self, **target):
        return self.do("visible", target=target)

    def text(self, **target):
        return self.do("text", target=target)

    def content(self):
        """All that is written on the page."""
        return self.do("content")

    def wait_for(self, seconds=10, **target):
        """Waits until the element is on the page."""
        try:
            wait_until(lambda: self.visible(**target), seconds, f"{target} on the page")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def wait_for_text(self, text, seconds=10):
        try:
            return wait_until(lambda: text in self.content(), seconds, f"{text!r} on the page")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def offline(self, on=True):
        self.do("offline", on=on)

    def choose_file(self, file, **target):
        self.do("files", target=target, files=[str(file)])

    def screenshot(self, file, size=None, theme=None, full=False):
        if size:
            self.do("size", **size)
        if theme:
            self.do("theme", theme=theme)
        file.parent.mkdir(parents=True, exist_ok=True)
        self.do("screenshot", file=str(file), full=full)

    def accessibility(self):
        """What axe-core finds serious or critical, in words; nothing: []."""
        found = self.do("axe", seconds=60)
        return [
            f"{one['impact']}: {one['id']}: {one['help']}\n  " + "\n  ".join(one["nodes"])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def all(self, event, **fields):
        """The events of a kind so far, with these fields."""
        return [
            told
            for told in list(self.events)
            if told["event"] == event and all(told.get(name) == value for name, value in fields.items())
        ]

    def problems(self):
        """What must not happen in a page: violations of its policy, uncaught errors, dialogs."""
        return self.all("violation") + self.all("error") + self.all("dialog")

    def said(self):
        """The page and what happened, for a failed test."""
        if self not in OPEN:
            return f"{self.id} is closed"
        try:
            about = f"{self.url()}\n{self.content()}"
        except AssertionError as error:
            about = str(error)
        told = [f"{event['kind']}: {event['text']}" for event in self.all("console")]
        told += [str({name: value for name, value in event.items() if name != "seen"}) for event in self.problems()]
        return f"--- the page: {about}\n--- what happened: " + "\n".join(told[-40:])

    def close(self):
        if self in OPEN:
            OPEN.remove(self)
            self.do("close")

    def restart(self):
        """Ends the browser and starts it again; needs a `directory`."""
        assert self.options.get("directory"), "nothing of this phone would be left"
        url = self.url()
        self.close()
        self.open()
        self.goto(url)


def close_all():
    for page in list(OPEN):
        try:
            page.close()
        except BrowserError:
            # With the driver gone the browser is gone too, and the next phone starts both anew.
            Browser.end()


def settled(page, seconds=0.3):
    """Lets a page be for a moment in which something must not happen."""
    time.sleep(seconds)
    return page
