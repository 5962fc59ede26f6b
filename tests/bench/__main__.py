"""python3 -m bench [ROWS]: measures, and prints the table. Inside tests/run only."""

import fnmatch
import importlib
import sys
import time
from pathlib import Path

from . import table
from .stage import Stage


def modules():
    """Names of what can be measured, in the table's order."""
    order = ["login", "crypto", "memory", "network", "faults", "hangup", "ask", "bus", "idle", "waiting", "server", "streams", "web", "push"]
    there = {file.stem.removeprefix("rows_") for file in Path(__file__).parent.glob("rows_*.py")}
    return [name for name in order if name in there] + sorted(there - set(order))


def chosen(patterns):
    names = modules()
    wanted = [pattern for pattern in patterns.split(",") if pattern]
    unknown = [pattern for pattern in wanted if not fnmatch.filter(names, pattern)]
    if unknown:
        sys.exit(f"bench: no rows named {', '.join(unknown)}; there are {', '.join(names)}")
    return [name for name in names if not wanted or any(fnmatch.fnmatch(name, pattern) for pattern in wanted)]


def main():
    rows = []
    stage = Stage()
    try:
        for name in chosen(sys.argv[1] if len(sys.argv) > 1 else ""):
            began = time.monotonic()
            print(f"bench: {name} …", end="", file=sys.stderr, flush=True)
            rows += importlib.import_module(f".rows_{name}", __package__).measure(stage)
            stage.clear()
            print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
    finally:
        stage.end()
        for line in table.draw(rows):
            print(line)


main()
