"""The web approver in Chromium: a phone, used as a person uses it, by what is on its screen."""

import re

from .daemon import RUN
from .page import Page
from .pairing import PairingCommand
from .process import wait_until

# What the inbox shows of each request: the page's own names for tests, as server/web/js/ui/main.js lists them.
CARDS = """() => [...document.querySelectorAll('[data-testid=card]')].map((card) => {
  const text = (name) => card.querySelector(`[data-testid=${name}]`)?.innerText ?? null;
  const [machine, id] = card.dataset.request.split('/');
  return {
    key: card.dataset.request, machine_id: machine, id, phase: card.dataset.phase, kind: card.dataset.kind,
    outcome: card.dataset.outcome ?? null, headline: text('headline'), code: text('code'), text: card.innerText,
    rows: Object.fromEntries([...card.querySelectorAll('.row')].map((row) => [row.dataset.key, row.querySelector('dd').innerText])),
    differs: [...card.querySelectorAll('[data-testid=differs]')].map((row) => row.dataset.differs),
  };
})"""


def digits(text):
    """A code without the gaps between its groups."""
    return re.sub(r"\s", "", text)


class Phone(Page):
    """A phone whose app comes from `origin`. `options` are those of Page."""

    def __init__(self, origin, name="phone", **options):
        self.origin = origin
        self.name = name
        super().__init__(**options)

    # Pairing.

    def open_link(self, link):
        """Opens a pairing link as the camera would; waits for the page's explanation."""
        self.goto(link)
        self.wait_for_step("ready")

    def step(self):
        return self.evaluate("() => document.querySelector('[data-testid=pairing]')?.dataset.step ?? null")

    def wait_for_step(self, *steps, seconds=20):
        """Waits for one of the pairing's steps; returns which."""

        def reached():
            step = self.step()
            if step == "failed" and "failed" not in steps:
                raise AssertionError(f"pairing failed: {self.fault()}\n{self.said()}")
            return step if step in steps else None

        try:
            return wait_until(reached, seconds, f"pairing reaches {steps}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is at {self.step()}\n{self.said()}") from None

    def fault(self):
        """The code of the fault that the page shows."""
        return self.evaluate("() => document.querySelector('[data-testid=fault]')?.dataset.fault ?? null")

    def start_pairing(self, notify=False):
        """From the explanation on: names the device and goes; the page shows the code when the host has answered."""
        self.fill(self.name, id="device-name")
        # Chromium would ask a push service that is not there, and wait.
        if not notify and self.count(id="notify"):
            self.do("uncheck", target={"id": "notify"})
        self.click(id="pair")

    def pairing_code(self):
        self.wait_for_step("code")
        return digits(self.text(id="pairing-code"))

    def pair(self, user, run=RUN):
        """Pairs with the private host for the user, as two people would: link here, code there, the test ring answered."""
        host = PairingCommand(user, run)
        try:
            self.open_link(host.link)
            self.finish_pairing(host)
        finally:
            host.stop()
        return self

    def finish_pairing(self, host):
        self.start_pairing()
        host.type(self.pairing_code())
        self.wait_for_step("done")
        self.answer_test_ring(host)
        assert host.finish() == 0, host.said()
        self.inbox()

    def answer_test_ring(self, host):
        """The first request is the host's, to see that it rings."""
        ring = wait_until(
            lambda: not host.alive() or [card for card in self.cards() if (card["kind"], card["phase"]) == ("test", "open")],
            15, "the host rings the phone",
        )  # fmt: skip
        assert ring is not True, f"the host did not ring the phone: {host.said()}"
        self.approve(ring[0])

    def inbox(self):
        """The list of what waits, connected."""
        self.evaluate("() => { location.hash = '#/'; }")
        self.connected()

    def connected(self, seconds=10):
        self.wait_until(
            "() => document.querySelector('[data-testid=connection]')?.dataset.state === 'live'", seconds=seconds,
            what="the phone is connected",
        )  # fmt: skip

    # Requests.

    def cards(self):
        return self.evaluate(CARDS)

    def requests(self):
        """What is open now, the test ring aside."""
        return [card for card in self.cards() if card["phase"] == "open" and card["kind"] != "test"]

    def next_request(self, after=0, seconds=10):
        """Waits for an open request; with `after` there are that many already."""
        wait_until(lambda: len(self.requests()) > after, seconds, f"a request on the phone; {self.said()}")
        return self.requests()[-1]

    def card(self, request):
        """The request as it is now; None when it is on the page no more."""
        return next((card for card in self.cards() if card["id"] == request["id"]), None)

    def _within(self, request, what):
        return {"id": what, "within": {"css": f'[data-testid=card][data-request="{request["key"]}"]'}}

    def decide(self, request, answer):
        """Answers: `approve`, `deny` or `report`; returns the card then."""
        self.do("click", target=self._within(request, answer))
        return self.wait_card(request, lambda card: card["phase"] in ("decided", "closed"), "decided")

    def approve(self, request):
        """Approves; returns the code that the screen shows, None where the request wants a tap."""
        card = self.decide(request, "approve")
        if card["code"] is None:
            return None
        code = digits(card["code"])
        assert re.fullmatch(r"\d{6}", code), code
        return code

    def deny(self, request):
        return self.decide(request, "deny")

    def report(self, request):
        return self.decide(request, "report")

    def wait_card(self, request, condition, what, seconds=10):
        def right():
            card = self.card(request)
            return card if card and condition(card) else None

        try:
            return wait_until(right, seconds, f"{request['headline']}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def wait_closed(self, request, seconds=10):
        return self.wait_card(request, lambda card: card["phase"] == "closed", "closed", seconds)

    def alarms(self):
        """The reasons of the alarms that are shown."""
        return self.evaluate("() => [...document.querySelectorAll('[data-testid=alarm]')].map((alarm) => alarm.dataset.reason)")
