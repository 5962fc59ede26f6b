"""What opening the app for the first time costs, over HTTPS as phones have it."""

import json
import re
import ssl
import urllib.request
from dataclasses import dataclass

from . import tls
from .page import Page
from .process import wait_until
from .server import Server
from .tap import Tap

# The handshake's own bytes count; the server's answers to anything but the app's files are not the app's.
ANSWERED = re.compile(r'^countersign_\w*requests_total\{(?=[^}]*route="app")[^}]*\} (\d+)', re.MULTILINE)


@dataclass
class Cost:
    """Until page and service worker have all that they need."""

    # Of all the app's files, compressed as they are sent, each once: with every language, and the icons that installing takes.
    files: int
    # All that was received: with headers, TLS, and answers that say "unchanged" when the worker asks for its modules.
    wire: int
    requests: int


def measure(directory):
    certificate, key, ca = tls.make(directory / "tls")
    # Not simply all certificates: what comes by a bad one is never cached.
    trust = f"--ignore-certificate-errors-spki-list={tls.public_key_hash(certificate)}"
    tap = Tap()
    server = Server(directory / "server", certificate, key, origin=f"https://127.0.0.1:{tap.port}")
    tap.connect(server.port)
    page = Page(directory=str(directory / "profile"), args=[trust])
    try:
        page.goto(server.origin)
        page.wait_for(id="welcome", seconds=20)
        page.wait_until("() => navigator.serviceWorker.ready.then((one) => one.active?.state === 'activated')", seconds=20)
        last = None

        def quiet():
            nonlocal last
            before, last = last, tap.received
            return before == last

        wait_until(quiet, 20, "nothing more is loaded", interval=1.0)
        context = ssl.create_default_context(cafile=str(ca))

        def get(path, encoding="identity"):
            call = urllib.request.Request(f"https://127.0.0.1:{server.port}{path}", headers={"Accept-Encoding": encoding})
            with urllib.request.urlopen(call, context=context, timeout=10) as answer:
                return answer.read()

        requests = sum(int(count) for count in ANSWERED.findall(get("/metrics").decode()))
        names = json.loads(get("/app-files.json"))
        files = sum(len(get(name, "br")) for name in {*names["files"], *names["later"], "/app-files.json", "/sw.js"})
        return Cost(files, last, requests)
    finally:
        page.close()
        server.stop()
        tap.close()
