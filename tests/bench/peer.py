"""The program bench-peer (tests/bench/peer): what Python would be too slow for."""

import json

from lab import paths
from lab.process import Process, wait_until

PROGRAM = paths.BUILT / "bench-peer"


class Peer(Process):
    """A bench-peer in the background; each line that it prints is an event."""

    def __init__(self, directory, *words, prefix=()):
        self._events = []
        self._read = 0
        super().__init__("bench-peer", [*prefix, PROGRAM, *words], directory / "peer.log")

    def events(self):
        """All so far, in order."""
        with open(self.log_path, "rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._events += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return self._events

    def all(self, kind):
        return [event for event in self.events() if event["event"] == kind]

    def wait_for(self, kind, count=1, seconds=10):
        """The event of a kind that is the `count`th."""

        def seen():
            found = self.all(kind)
            assert len(found) >= count or self.alive(), f"bench-peer ended:\n{self.log()}"
            return found[count - 1] if len(found) >= count else None

        return wait_until(seen, seconds, f"{count} events {kind} of bench-peer; it said:\n{self.log()[-2000:]}", interval=0.002)
