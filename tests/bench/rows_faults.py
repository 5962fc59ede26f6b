"""How long a login waits for its refusal when the server is not what it should be.

A fault strikes while the daemon's connection is warm; the login that comes at once is the first to meet it ("just then"),
the next one finds it known. `cold` is a daemon that starts into the fault, with a login at once.
"""

import subprocess
import time
from pathlib import Path

from lab import tls
from lab.broken import Front, SilentResolver
from lab.process import free_port, wait_until

from . import duo
from .stage import LOGIN
from .table import Row, number

ROUNDS = 3
# Nobody waits longer for pam_duo than that: it takes up to minutes.
PATIENCE = 12
KNOWN = 20
FAULTS = (
    ("refused", "refused", 100),
    ("503 answers", "server_error", 100),
    ("garbage", "garbage", 100),
    ("bad certificate", "bad_certificate", 100),
    ("SYNs dropped", "dropped", 3_000),
    ("silent", "silent", 3_000),
)


def log_in(service):
    """One login: (its result, milliseconds); None where it took too long."""
    argv = [LOGIN, "take-turns", "alice", "1", f"bench-{service}"]
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    _, result, wall, _ = done.stdout.split()
    return int(result), int(wall) / 1e6


def refused(service="ours"):
    """Milliseconds until the refusal."""
    login = log_in(service)
    assert login, "no verdict in time"
    assert login[0] != 0, "a fault opened"
    return login[1]


def measure(stage):
    good, bad = stage.tls(), tls.make(stage.directory("other"), name="DNS:localhost,IP:127.0.0.1")
    port = free_port()
    front = Front(port, (good[:2], bad[:2]))
    stack = stage.stack(server={"port": port, "origin": f"https://localhost:{front.port}"})
    stage.answering(stack).wait_for("connected")
    theirs = _duo(stage, good, bad)
    rows = []
    for name, fault, limit in FAULTS:
        just_then, known, cold = zip(*(_ours(stack, front, getattr(front, fault)) for _ in range(ROUNDS)))
        rows += _rows(name, just_then, known, cold, limit, theirs.get(fault, "not measured"))
    rows += _dead_dns(stack, front, bool(theirs))
    return rows


def _rows(name, just_then, known, cold, limit, theirs):
    worst = max(*just_then, *cold)
    return [
        Row(f"{name} → verdict, slowest of {2 * len(cold)}", f"{number(worst)} ms", duo=theirs,
            budget=f"≤ {limit:,} ms", met=worst <= limit),
        Row("… known", f"{number(max(known))} ms", budget=f"≤ {KNOWN} ms", met=max(known) <= KNOWN),
    ]  # fmt: skip


def _ours(stack, front, strike):
    _mended(stack, front)
    strike()
    just_then = refused()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon knows")
    known = refused()
    cold = _cold(stack)
    return just_then, known, cold


def _cold(stack):
    stack.daemon.stop()
    stack.daemon.start()
    return refused()


def _mended(stack, front):
    front.mend()
    stack.daemon.stop()
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is connected")


def _dead_dns(stack, front, with_duo):
    """The name is good while the daemon connects; then the connection breaks, and nobody answers for the name."""
    resolver, hosts = SilentResolver(), Path("/etc/hosts")
    before = hosts.read_text()

    def strike():
        hosts.write_text(before.replace("localhost ", ""))
        front.refused()

    rounds = []
    for _ in range(ROUNDS):
        hosts.write_text(before)
        rounds.append(_ours(stack, front, strike))
    # Nobody answers for its server's name either.
    theirs = _theirs() if with_duo else "not measured"
    hosts.write_text(before)
    resolver.stop()
    just_then, known, cold = zip(*rounds)
    return _rows("no answer from DNS", just_then, known, cold, 3_000, theirs)


def _duo(stage, good, bad):
    """What pam_duo does with the same faults, each met by a new connection."""
    if duo.missing():
        return {}
    server = duo.DuoServer(*good[:2])
    front = Front(server.port, (good[:2], bad[:2]))
    stage.service("duo", f"{duo.module()} {duo.configure('faults', f'localhost:{front.port}', good[2])}")
    theirs = {}
    for _, fault, _ in FAULTS:
        front.mend()
        getattr(front, fault)()
        theirs[fault] = _theirs()
        time.sleep(0.1)
    front.stop()
    return theirs


def _theirs():
    """How a login with pam_duo ends."""
    login = log_in("duo")
    if login is None:
        return f"> {PATIENCE} s"
    return f"{number(login[1])} ms, {'LETS IN' if login[0] == 0 else 'refused'}"
