"""`make bench`: what the web approver costs, measured on the parts that were built."""

import statistics
import tempfile
from pathlib import Path

from bench_push import pushed_and_shown
from lab import cold_load
from lab.browser import Browser
from lab.page import close_all
from lab.process import RUNNING, wait_until
from test_web_alarm import Parts

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
        ("app, all files as they are sent", f"{cost.files / 1024:.1f} KiB", "≤ 120 KiB"),
        ("app, first load, received over HTTPS", f"{cost.wire / 1024:.1f} KiB", "≤ 120 KiB"),
        ("app, first load, requests of page and worker", f"{cost.requests}", ""),
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
        ("request opened and drawn, median", f"{statistics.median(times):.1f} ms", "≤ 50 ms"),
        ("request opened and drawn, slowest", f"{times[-1]:.1f} ms", ""),
    ]


def main():
    parts = Parts(Path(tempfile.mkdtemp(dir="/run/lab")))
    rows = [("what", "measured", "budget")]
    for measure in (first_load, opened_and_drawn):
        rows += measure(parts)
    close_all()
    rows += pushed_and_shown(Path(tempfile.mkdtemp(dir="/run/lab")))
    Browser.end()
    for running in list(RUNNING):
        running.stop()
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
