"""What the daemon holds while very many logins wait."""

import json
import socket
import time

from lab.daemon import RUN

from .stats import cpu_seconds, rss_mib
from .table import Row, limited, number, show, slope

WAITING = (1_000, 5_000, 10_000)
LIMIT = 200
SERVER = """
[limits]
messages_per_host = 100000
messages_per_device = 100000
memory_mib = 1024
host_rate = 100000
pair_rate = 100000
"""


def measure(stage):
    stack = stage.stack(server={"options": ["--config", _limits(stage)]}, wait="600s")
    watch = stage.answering(stack, watch=True)
    watch.wait_for("connected")
    pid = stack.daemon.process.pid
    return _many(stack, watch, pid, rss_mib(pid))


def _limits(stage):
    path = stage.directory("server.toml")
    path.write_text(SERVER)
    return path


def _many(stack, watch, pid, idle):
    rows, sockets, memory, work = [], [], [], []
    for count in WAITING:
        cpu, began = cpu_seconds(pid), time.monotonic()
        more = count - len(sockets)
        while len(sockets) < count:
            sockets.append(_begin(len(sockets)))
        watch.wait_for("request", count, seconds=120)
        took = time.monotonic() - began
        time.sleep(2)
        cost = (cpu_seconds(pid) - cpu) / more * 1e6
        rss = rss_mib(pid)
        memory.append((count, rss * 1024))
        work.append((count, cost))
        each = (rss - idle) * 1024 / count
        what = f"daemon, RSS with {count:,} logins waiting"
        row = limited(what, rss, "MiB", LIMIT) if count == WAITING[-1] else Row(what, show(rss, "MiB"))
        rows += [row, Row("… each", f"{number(each)} KiB, {number(cost)} µs CPU, {number(took / more * 1e6)} µs until on the phone")]
    rows.append(slope("RSS with logins waiting", memory, "KiB a login"))
    rows.append(slope("CPU a login with logins waiting", work, "µs for each 1,000 more", 1_000))
    rows += _withdrawn(sockets, watch, pid)
    return rows


def _begin(number):
    """A login of alice from somewhere, as the module begins it."""
    login = socket.socket(socket.AF_UNIX)
    login.connect(str(RUN / "pam.sock"))
    address = f"192.0.{number // 250}.{number % 250 + 1}"
    begin = {"version": 1, "stage": "auth", "service": "sshd", "user": "alice", "remote_host": address, "terminal": "ssh"}
    login.sendall(json.dumps({"method": "org.countersign.Login.Begin", "parameters": begin}).encode() + b"\0")
    return login


def _withdrawn(sockets, watch, pid):
    """All hang up at once."""
    cpu, began = cpu_seconds(pid), time.monotonic()
    for login in sockets:
        login.close()
    watch.wait_for("closed", len(sockets), seconds=180)
    took = time.monotonic() - began
    cost = (cpu_seconds(pid) - cpu) / len(sockets) * 1e6
    return [
        Row(f"daemon, {len(sockets):,} logins hang up at once → all withdrawn", f"{number(took)} s"),
        Row("… each", f"{number(cost)} µs CPU"),
        Row("daemon, RSS after that", show(rss_mib(pid), "MiB")),
    ]


