"""A wire that counts: what really travels between a browser, or a host, and a server."""

import socket
import threading

CHUNK = 65536


class Tap:
    """Listens on a free port of loopback and passes on to another one."""

    def __init__(self):
        self.received = 0
        self.sent = 0
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()

    def connect(self, port):
        """From now on connections go to that port."""
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()
        return self

    def _accept(self, port):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            self.connections += 1
            threading.Thread(target=self._copy, args=(near, far, "sent"), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, "received"), daemon=True).start()

    def _copy(self, source, target, count):
        try:
            while data := source.recv(CHUNK):
                with self._lock:
                    setattr(self, count, getattr(self, count) + len(data))
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self._listener.close()
