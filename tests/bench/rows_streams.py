"""What open event streams cost the server."""

import resource
import time

from .stats import cpu_seconds, rss_mib
from .rows_server import generator, server
from .table import Row, limited, number, show, slope

STREAMS = (5_000, 10_000, 20_000)
LIMIT = 1024
# Files of server and clients beside the streams, where a process may not open more than that many.
OTHERS = 200
# bench-peer leaves a number of streams alone for longer than that.
SETTLED = 3
# Two of the server's comments on every stream.
IDLE = 40


def measure(stage):
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    counts = [min(count, files - OTHERS) for count in STREAMS]
    running = server(stage)
    pid = running.process.pid
    idle = rss_mib(pid)
    peer = generator(stage, "streams", running.origin, running.token(), *counts)
    rows, memory = [Row("server, RSS idle", show(idle, "MiB"))], []
    for number_of, count in enumerate(counts, 1):
        peer.wait_for("open", number_of, seconds=300)
        time.sleep(SETTLED)
        rss = rss_mib(pid)
        memory.append((count, rss * 1024))
        what = f"server, RSS with {count:,} event streams"
        row = limited(what, rss, "MiB", LIMIT) if count == counts[-1] else Row(what, show(rss, "MiB"))
        rows += [row, Row("… each", f"{number((rss - idle) * 1024 / count)} KiB")]
    rows.append(slope("RSS with event streams", memory, "KiB a stream"))
    cpu = cpu_seconds(pid)
    time.sleep(IDLE)
    busy = (cpu_seconds(pid) - cpu) / IDLE * 100
    assert peer.alive(), peer.log()
    return [*rows, Row(f"server, CPU of one core with {counts[-1]:,} idle streams", f"{number(busy)} %")]
