"""Whole round trips through the server, on one core; the clients have the other one."""

import os

from lab.server import Server

from .stats import cpu_seconds, rss_mib
from .stage import first
from .table import Row, limited, number, show, slope

SECONDS = 8
# Hosts, each with one device; so many of them have a login under way.
HOSTS = (32, 128, 512)
AT_ONCE = 32
LEAST, P99, CPU = 2_000, 50, 0.4
LIMITS = """
[limits]
host_rate = 1000000
device_rate = 1000000
pair_rate = 1000000
address_rate = 1000000
devices_per_host = 100000
mailboxes_per_host = 1000
connections = 100000
"""


def server(stage, **settings):
    """A server that limits nobody, on the first core."""
    directory = stage.directory("server")
    directory.mkdir()
    config = directory / "server.toml"
    config.write_text(LIMITS)
    running = Server(directory, options=["--config", config], **settings)
    first(running.process.pid)
    # All its threads, those to come too.
    for task in os.listdir(f"/proc/{running.process.pid}/task"):
        os.sched_setaffinity(int(task), {0})
    return running


def generator(stage, *words):
    return stage.peer(*words, prefix=("taskset", "-c", "1") if os.cpu_count() > 1 else ())


def measure(stage):
    rows, trips, late, work = [], [], [], []
    for hosts in HOSTS:
        found, (a_second, p99, cost) = _loaded(stage, hosts)
        rows += found
        trips.append((hosts, a_second))
        late.append((hosts, p99))
        work.append((hosts, cost * 1000))
        stage.clear()
    return [
        *rows,
        slope("round trips a second with hosts", trips, "a second for each 100 more", 100),
        slope("99 of 100 answers with hosts", late, "ms for each 100 more", 100),
        slope("CPU a login with hosts", work, "µs for each 100 more", 100),
    ]


def _loaded(stage, hosts):
    """Its rows, and what of them has a slope."""
    running = server(stage)
    tokens = running.directory / "tokens"
    tokens.write_text("".join(f"{running.token()}\n" for _ in range(hosts)))
    peer = generator(stage, "load", running.origin, tokens, AT_ONCE, SECONDS)
    pid = running.process.pid
    peer.wait_for("begin", seconds=60)
    cpu, theirs = cpu_seconds(pid), cpu_seconds(peer.pid)
    end = peer.wait_for("end", seconds=SECONDS + 30)
    cost = (cpu_seconds(pid) - cpu) / end["trips"] * 1000
    generating = (cpu_seconds(peer.pid) - theirs) / end["trips"] * 1000
    a_second = end["trips"] / end["seconds"]
    what = f"server, {hosts} hosts, {AT_ONCE} logins at a time"
    rows = [
        Row(f"{what}: round trips a second", show(a_second, ""), budget=f"≥ {number(LEAST)}", met=a_second >= LEAST),
        Row("… until the answer, median", show(end["p50"], "ms")),
        limited("… until the answer, 99 of 100", end["p99"], "ms", P99),
        limited("… CPU a login", cost, "ms", CPU),
        Row("… the clients' CPU a login", show(generating, "ms")),
        Row("… RSS", show(rss_mib(pid), "MiB")),
    ]
    return rows, (a_second, end["p99"], cost)


