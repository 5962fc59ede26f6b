"""A line to the server that carries so many bytes a second towards it, shared by all connections as a router shares it."""

import queue
import socket
import threading
import time

from .process import free_port

# What one connection sends at a time, and what it may send ahead of that.
PIECE, AHEAD = 2048, 16384


class Narrow:
    """Listens on a port of its own and passes on to `target`, `rate` bytes a second upwards."""

    def __init__(self, rate):
        self.rate, self.target = rate, free_port()
        self.carried = 0
        self._open = []
        self._line = queue.Queue()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, AHEAD)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        for work in (self._accept, self._carry):
            threading.Thread(target=work, daemon=True).start()

    def stop(self):
        # accept() in another thread goes on otherwise.
        self._shut(self._listener)
        self._listener.close()
        for end in self._open:
            self._shut(end)
        self._line.put(None)

    def _shut(self, end):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(end)
            for work, ends in ((self._up, (near, far)), (self._down, (far, near))):
                threading.Thread(target=work, args=ends, daemon=True).start()

    def _up(self, near, far):
        """Hands on piece after piece: each connection has one in the line at a time."""
        gone = threading.Event()
        while not gone.is_set():
            try:
                piece = near.recv(PIECE)
            except OSError:
                piece = b""
            sent = threading.Event()
            self._line.put((far, piece, sent, gone))
            if not piece:
                return
            sent.wait()

    def _carry(self):
        while (turn := self._line.get()) is not None:
            far, piece, sent, gone = turn
            time.sleep(len(piece) / self.rate)
            try:
                far.sendall(piece) if piece else far.shutdown(socket.SHUT_WR)
            except OSError:
                gone.set()
            self.carried += len(piece)
            sent.set()

    def _down(self, far, near):
        try:
            while piece := far.recv(65536):
                near.sendall(piece)
        except OSError:
            pass
        self._shut(near)
        self._shut(far)
