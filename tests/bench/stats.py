"""What the kernel says of a process, and processors that are kept from sleeping."""

import contextlib
import os
import re
import subprocess
from pathlib import Path


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def switches(pid):
    """How often its threads have been woken so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", task.read_text(), re.M)[1]) for task in tasks)


def cpu_seconds(pid):
    """What all its threads have run so far."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


@contextlib.contextmanager
def awake():
    """No processor sleeps meanwhile: on each something runs that anything else may push aside at once. In a virtual machine
    it takes tens of microseconds to wake one, as often as a login is handed from one process to the next."""
    spin = ["chrt", "--idle", "0", "sh", "-c", "while :; do :; done"]
    spinning = [subprocess.Popen(["taskset", "-c", str(cpu), *spin]) for cpu in sorted(os.sched_getaffinity(0))]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()
