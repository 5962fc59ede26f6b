"""From the end of whoever logs in to the end of the request on an open app."""

import os
import signal
import statistics
import time

from lab.browser import Browser
from lab.process import wait_until

from . import duo
from .logins import Held
from .rows_faults import PATIENCE
from .table import Row, limited

ROUNDS = 10
LIMIT = 1000
SHOWN = "() => document.querySelectorAll('[data-testid=card][data-phase=open]').length"


def measure(stage):
    stack = stage.stack()
    watch = stage.answering(stack, watch=True)
    watch.wait_for("connected")
    rows = []
    times = [_killed(watch, _process(), count) for count in range(1, ROUNDS + 1)]
    server = None if duo.missing() else _duo(stage)
    rows += _rows("the login's process is killed → withdrawn", times, _their_process(server))
    client = stack.client(stack.sshd())
    times = [_killed(watch, _ssh(client), ROUNDS + count) for count in range(1, ROUNDS + 1)]
    rows += _rows("the ssh client is killed → withdrawn", times)
    if not (lacking := Browser.missing()):
        stage.clear()
        rows += _drawn(stage.stack(plain=True))
    else:
        rows.append(Row("the ssh client is killed → off the web app's screen", f"not measured: no {lacking}"))
    return rows


def _rows(what, times, theirs=""):
    return [
        limited(f"{what}, slowest of {len(times)}", max(times), "ms", LIMIT, duo=theirs),
        Row("… median", f"{statistics.median(times):.1f} ms"),
    ]


def _process():
    held = Held("ours", 1)
    return held.pids[0], held.stop


def _ssh(client):
    """An ssh login that waits for its tap."""
    login = client.login("alice", "true", timeout=20)
    login.answer_password("alice-password")
    return login.child.pid, login.kill


def _killed(watch, login, count):
    """Milliseconds from SIGKILL to the device's word."""
    pid, clean = login
    request = watch.wait_for("request", count)
    began = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    closed = watch.wait_for("closed", count)
    clean()
    assert closed["id"] == request["id"], "another request ended"
    return (closed["at"] - began) / 1e6


def _duo(stage):
    """A server at which every push of pam_duo stays unanswered."""
    certificate, key, ca = stage.tls()
    server = duo.DuoServer(certificate, key)
    server.holding.set()
    stage.duo("duo", server, ca)
    return server


def _their_process(server):
    """What pam_duo's server hears once the login's process is killed."""
    if not server:
        return "not measured"
    held = Held("duo", 1)
    wait_until(lambda: server.held == 1, 10, "pam_duo waits for its push")
    os.kill(held.pids[0], signal.SIGKILL)
    said = server.requests
    time.sleep(PATIENCE)
    held.stop()
    return f"stays > {PATIENCE} s" if server.requests == said else "withdrawn"


def _drawn(stack):
    phone, client = stack.phone(), stack.client(stack.sshd())
    times = []
    for _ in range(ROUNDS):
        pid, clean = _ssh(client)
        wait_until(lambda: phone.evaluate(SHOWN) == 1, 10, "the request is on the screen", interval=0.005)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: phone.evaluate(SHOWN) == 0, 10, "it is off the screen", interval=0.002)
        times.append((time.monotonic() - began) * 1000)
        clean()
    return _rows("the ssh client is killed → off the web app's screen", times)
