"""What the daemon holds and does: idle, and while very many logins wait."""

import json
import re
import socket
import time
from pathlib import Path

from lab.daemon import RUN

from .table import Row, limited, number, show

# How long the daemon is watched doing nothing.
IDLE = 120
# Logins that wait, and the budgets of the most.
WAITING = (1_000, 5_000, 10_000)
IDLE_RSS, WAKE_UPS, WAITING_RSS = 12, 1.0, 200
SERVER = """
[limits]
messages_per_host = 100000
messages_per_device = 100000
memory_mib = 1024
host_rate = 100000
pair_rate = 100000
"""


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def switches(pid):
    """How often its threads have been woken so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", task.read_text(), re.M)[1]) for task in tasks)


def cpu_seconds(pid):
    """What all its threads have run so far."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measure(stage):
    stack = stage.stack(server={"options": ["--config", _limits(stage)]}, wait="600s")
    watch = stage.answering(stack, watch=True)
    watch.wait_for("connected")
    pid = stack.daemon.process.pid
    time.sleep(10)
    before, cpu = switches(pid), cpu_seconds(pid)
    time.sleep(IDLE)
    woken = (switches(pid) - before) * 30 / IDLE
    idle = rss_mib(pid)
    rows = [
        limited("daemon, RSS idle", idle, "MiB", IDLE_RSS),
        limited(f"daemon, wake-ups in 30 s idle (of {IDLE} s)", woken, "", WAKE_UPS),
        Row("daemon, CPU idle", f"{number((cpu_seconds(pid) - cpu) / IDLE * 3600)} s an hour"),
    ]
    return rows + _many(stack, watch, pid, idle)


def _limits(stage):
    path = stage.directory("server.toml")
    path.write_text(SERVER)
    return path


def _many(stack, watch, pid, idle):
    rows, sockets = [], []
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
        each = (rss - idle) * 1024 / count
        what = f"daemon, RSS with {count:,} logins waiting"
        row = limited(what, rss, "MiB", WAITING_RSS) if count == WAITING[-1] else Row(what, show(rss, "MiB"))
        rows += [row, Row("… each", f"{number(each)} KiB, {number(cost)} µs CPU, {number(took / more * 1e6)} µs until on the phone")]
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


