"""What the service on the system bus costs: started by the first call, and gone when nobody needs it."""

import os
import signal
import statistics
import time

from lab import systembus
from lab.process import wait_until
from lab.systembus import NAME, SystemBus

from .stage import first
from .stats import rss_mib
from .table import Row, limited, number

STARTS, CALLS = 7, 50
START, RSS = 100, 12


def measure(stage):
    if lacking := systembus.missing():
        return [Row("the service on the system bus", f"not measured: no {', '.join(lacking)}")]
    stage.stack()
    bus = SystemBus(stage.directory("bus"))
    first(bus.bus.pid, bus.polkit.pid)
    starts, calls = [], []
    for _ in range(STARTS):
        end(bus)
        starts.append(timed(lambda: bus.root.get("Connected")))
    # All that a status panel asks for, by somebody who may see it.
    for _ in range(CALLS):
        calls.append(timed(lambda: bus.root.call("ListRequests", "s", "*")))
    return [
        limited("bus service, first call until its answer, started by it", statistics.median(starts), "ms", START),
        Row("… once it runs, a list of requests", f"{number(statistics.median(calls))} ms"),
        limited("bus service, RSS", rss_mib(bus.service()), "MiB", RSS),
    ]


def timed(call):
    """Milliseconds."""
    began = time.monotonic()
    call()
    return (time.monotonic() - began) * 1000


def end(bus):
    """The next call starts it."""
    if pid := bus.service():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not bus.service() and not bus.root.owner(NAME), 10, "the service is gone")
