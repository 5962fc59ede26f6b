"""What the web approver costs: bytes, requests, and how fast a request is on the screen."""

import statistics

from lab import cold_load
from lab.browser import Browser
from lab.page import close_all
from lab.process import wait_until
from test_web_alarm import Parts

from .table import Row, limited

ROUNDS = 20
# Notes when a message's bytes came out of the event stream, and when its card had been painted.
CLOCK = """
  globalThis.drawnIn = [];
  let arrived = 0;
  const seen = new Set();
  const read = ReadableStreamDefaultReader.prototype.read;
  ReadableStreamDefaultReader.prototype.read = async function (...rest) {
    const result = await read.apply(this, rest);
    const text = typeof result.value === 'string' ? result.value : result.value instanceof Uint8Array ? new TextDecoder().decode(result.value) : '';
    if (text.includes('event: message') || text.includes('event:message')) arrived = performance.now();
    return result;
  };
  new MutationObserver(() => {
    for (const card of document.querySelectorAll('[data-testid=card][data-phase=open]')) {
      if (seen.has(card.dataset.request)) continue;
      seen.add(card.dataset.request);
      const from = arrived;
      // The frame with it is painted between this callback and the next task.
      requestAnimationFrame(() => { const { port1, port2 } = new MessageChannel(); port1.onmessage = () => drawnIn.push(performance.now() - from); port2.postMessage(0); });
    }
  }).observe(document, { childList: true, subtree: true });
"""


def first_load(parts):
    """Everything that a browser fetches when it opens the app for the first time."""
    cost = cold_load.measure(parts.directory / "cold")
    return [
        limited("app, all files as they are sent", cost.files / 1024, "KiB", 124),
        limited("app, first load, received over HTTPS", cost.wire / 1024, "KiB", 124),
        Row("app, first load, requests of page and worker", f"{cost.requests}"),
    ]


def opened_and_drawn(parts):
    """From a request's bytes in the page to its card on the screen."""
    phone = parts.phone
    phone.do("script", script=CLOCK)
    phone.reload()
    phone.connected()
    for count in range(1, ROUNDS + 1):
        asked = parts.host.ask(parts.device)
        wait_until(lambda: phone.evaluate("() => drawnIn.length") >= count, 10, "a card is drawn")
        request = phone.next_request()
        parts.host.close(parts.device, asked, "withdrawn")
        phone.wait_closed(request)
    times = sorted(phone.evaluate("() => drawnIn"))
    return [
        limited("request opened and drawn, median", statistics.median(times), "ms", 50),
        Row("request opened and drawn, slowest", f"{times[-1]:.1f} ms"),
    ]


def measure(stage):
    if lacking := Browser.missing():
        return [Row("the web approver", f"not measured: no {lacking}")]
    parts = Parts(stage.directory("web"))
    rows = first_load(parts) + opened_and_drawn(parts)
    close_all()
    Browser.end()
    return rows
