"""What a login costs on the network and on the disk: connections, HTTP requests, bytes."""

import ssl
import time
import urllib.request

from lab.process import free_port
from lab.tap import Tap

from . import duo
from .logins import take_turns
from .table import Row, limited, number

LOGINS = 20
# A login's end is posted a moment after its verdict.
ENDED = 0.5


def counters(server, ca):
    """The server's own, by name."""
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/metrics", context=context) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def measure(stage):
    _, _, ca = stage.tls()
    tap, port = Tap(), free_port()
    tap.connect(port)
    stack = stage.stack(server={"port": port, "origin": f"https://127.0.0.1:{tap.port}"})
    stage.answering(stack).wait_for("connected")
    take_turns(["ours"], 2)
    time.sleep(ENDED)
    audit = stack.daemon.state / "audit" / "audit.jsonl"
    before, connections = counters(stack.server, ca), tap.connections
    sent, received, written = tap.sent, tap.received, audit.stat().st_size
    take_turns(["ours"], LOGINS)
    time.sleep(ENDED)
    sent, received, written = tap.sent - sent, tap.received - received, audit.stat().st_size - written
    after = counters(stack.server, ca)
    ours = {name: (after[name] - before[name]) / LOGINS for name in before}
    theirs = {"connections": "not measured", "requests": "not measured"}
    if not duo.missing():
        certificate, key, _ = stage.tls()
        server = duo.DuoServer(certificate, key)
        stage.duo("duo", server, ca)
        take_turns(["duo"], LOGINS)
        theirs = {"connections": f"{server.connections / LOGINS:g}", "requests": f"{server.requests / LOGINS:g}"}
    new = (tap.connections - connections) / LOGINS
    return [
        limited("new connections (TLS sessions) a login", new, "", 0, duo=theirs["connections"]),
        limited(
            "HTTP requests of the host a login (request, end)", ours["countersign_posts_total"], "", 2,
            duo=theirs["requests"],
        ),
        Row("events to the host a login", f"{ours['countersign_decisions_total']:g}"),
        # Of host and device together: request, decision, end.
        Row("bytes a login, to the server", f"{number(sent / LOGINS / 1024)} KiB"),
        Row("… from the server", f"{number(received / LOGINS / 1024)} KiB"),
        Row("audit, a login", f"{number(written / LOGINS / 1024)} KiB"),
    ]  # fmt: skip
