"""The private host's /dev/log, kept in memory."""

import os
import socket
import threading

from .process import wait_until


# What the tests send to see how far the log was read.
MARKER = b"how far"


class Syslog:
    """Collects what programs log. One line an entry, with its facility and severity in front."""

    def __init__(self, path="/dev/log"):
        if os.path.lexists(path):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._lines = []
        # The same, as the bytes that came.
        self.raw = []
        # Where the present test began.
        self.since = 0
        self._path = path
        # Entries of our own that were read: what was sent before them was read before.
        self._markers = 0
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self):
        while True:
            entry = self._socket.recv(65536)
            if entry == MARKER:
                self._markers += 1
                continue
            self.raw.append(entry)
            self._lines.append(entry.decode(errors="replace").rstrip("\n\0"))

    def catch_up(self):
        """Comes back when everything has been read that was sent before."""
        before = self._markers
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(MARKER, self._path)
        wait_until(lambda: self._markers > before, 5.0, "the log is read")

    def lines(self, text="", after=0):
        """The entries that hold the text, of all that were sent by now."""
        self.catch_up()
        return [line for line in self._lines[after:] if text in line]

    def mark(self):
        """A place to look from: pass it as `after`."""
        self.catch_up()
        return len(self._lines)

    def wait_for(self, text, seconds=5.0, after=0):
        said = "\n".join(self._lines[after:])
        return wait_until(lambda: self.lines(text, after), seconds, f"{text!r} in the log, which holds:\n{said}")
