"""Runs the program login (tests/bench/login.c), plainly and under strace and valgrind."""

import re
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from .stage import LOGIN

USER = "alice"
SUCCESS = 0


@dataclass
class Cost:
    """One service's logins, in milliseconds; medians where nothing else is said."""

    wall: float
    cpu: float
    quickest: float
    slowest: float


def take_turns(services, rounds, result=SUCCESS):
    """The services' logins in turn; all have to end in `result`."""
    argv = [LOGIN, "take-turns", USER, str(rounds), *[f"bench-{name}" for name in services]]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    walls, cpus = defaultdict(list), defaultdict(list)
    for line in out.splitlines():
        service, got, wall, cpu = line.split()
        assert int(got) == result, f"{service} ended in {got}"
        name = service.removeprefix("bench-")
        walls[name].append(int(wall) / 1e6)
        cpus[name].append(int(cpu) / 1e6)
    middle = statistics.median
    return {name: Cost(middle(walls[name]), middle(cpus[name]), min(walls[name]), max(walls[name])) for name in services}


def _once(service, *prefix):
    argv = [*prefix, LOGIN, "once", USER, f"bench-{service}"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == SUCCESS, f"{service}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def system_calls(service, directory):
    """Names of the system calls of one login's process."""
    log = directory / f"{service}.strace"
    _once(service, "strace", "-f", "-qq", "-o", str(log))
    return [found[1] for line in log.read_text().splitlines() if (found := re.match(r"\d+ +(\w+)\(", line))]


def instructions(service, directory):
    """How many of one login's process, by callgrind."""
    counts = directory / f"{service}.callgrind"
    _once(service, "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={counts}")
    return int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.M)[1])


class Held:
    """Logins that stay where they are: pam_permit's after its end, the others waiting."""

    def __init__(self, service, count):
        argv = [LOGIN, "hold", USER, str(count), f"bench-{service}"]
        self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pids = [int(self.popen.stdout.readline()) for _ in range(count)]

    def private_kib(self):
        """Median of their private memory."""
        return statistics.median(private_kib(pid) for pid in self.pids)

    def stop(self):
        self.popen.kill()
        self.popen.communicate()


def private_kib(pid):
    """Memory that is this process's alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))


def find(program):
    """Whether a program is there; rows that need it are left out otherwise."""
    return subprocess.run(["which", program], capture_output=True).returncode == 0
