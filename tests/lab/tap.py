"""A wire that counts: what really travels between a browser and a server."""

import socket
import threading

CHUNK = 65536


class Tap:
    """Listens on a free port of loopback and passes on to another one."""

    def __init__(self):
        self.received = 0
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
            threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source, target, counted):
        try:
            while data := source.recv(CHUNK):
                if counted:
                    with self._lock:
                        self.received += len(data)
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
