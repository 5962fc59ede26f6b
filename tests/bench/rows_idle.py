"""What the daemon does while nothing happens: connected to its server, nobody logs in."""

import time

from .stats import cpu_seconds, rss_mib, switches
from .table import Row, limited, number

# How long it is left alone, and then watched.
SETTLED, IDLE = 10, 120
RSS, WAKE_UPS = 12, 1.0


def measure(stage):
    stack = stage.stack()
    pid = stack.daemon.process.pid
    time.sleep(SETTLED)
    before, cpu = switches(pid), cpu_seconds(pid)
    time.sleep(IDLE)
    woken = (switches(pid) - before) * 30 / IDLE
    return [
        limited("daemon, RSS idle", rss_mib(pid), "MiB", RSS),
        limited(f"daemon, wake-ups in 30 s idle (of {IDLE} s)", woken, "", WAKE_UPS),
        Row("daemon, CPU idle", f"{number((cpu_seconds(pid) - cpu) / IDLE * 3600)} s an hour"),
    ]
