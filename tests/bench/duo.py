"""A stand-in for Duo's service: the calls that Debian's pam_duo makes (/rest/v1/*.bson), answered at once.

Written from what the module sends; it lets everybody in.
"""

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs

from lab import paths

# Where packaging/install-deps --bench has unpacked Debian's packages libpam-duo and libduo3.
UNPACKED = paths.REPOSITORY / ".build" / "duo"


def bson(document):
    """A document of texts and documents as BSON."""
    body = b""
    for name, value in document.items():
        key = name.encode() + b"\0"
        if isinstance(value, dict):
            body += b"\x03" + key + bson(value)
        else:
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
    return struct.pack("<i", len(body) + 5) + body + b"\0"


FACTORS = {"default": "push1", "1": "push1"}
ANSWERS = {
    "/rest/v1/preauth.bson": {"result": "auth", "prompt": "Option (1): ", "factors": FACTORS},
    "/rest/v1/auth.bson": {"txid": "tx1"},
    "/rest/v1/status.bson": {"result": "allow", "status": "Success. Logging you in..."},
}


class DuoServer:
    """Listens with TLS on a free port of loopback. `quickly` acknowledges what comes at once, which a peer's kernel does not.

    While `holding` is set, nobody hears what became of the push; `held` counts who asked.
    """

    def __init__(self, certificate, key, quickly=False):
        self.connections = 0
        self.requests = 0
        self.held = 0
        self.holding = threading.Event()
        self._quickly = quickly
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _acknowledge(self, connection):
        if self._quickly:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _serve(self, plain):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledge(plain)
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                while head := self._head(connection):
                    self._answer(connection, head)
        except OSError:
            pass

    def _head(self, connection):
        """A request's first line; its headers and body are read and passed over."""
        data = b""
        while b"\r\n\r\n" not in data:
            self._acknowledge(connection)
            if not (more := connection.recv(65536)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
        while len(body) < length:
            self._acknowledge(connection)
            if not (more := connection.recv(65536)):
                return None
            body += more
        return lines[0]

    def _answer(self, connection, head):
        self.requests += 1
        path, _, query = head.split(" ")[1].partition("?")
        if path.endswith("status.bson"):
            assert parse_qs(query)["txid"] == ["tx1"]
            self.held += 1
            while self.holding.is_set():
                time.sleep(0.1)
        body = bson({"stat": "OK", "response": ANSWERS[path]})
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/bson\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    def stop(self):
        self._listener.close()


def missing():
    """What pam_duo needs and is not there; None if it can be measured."""
    return None if next(UNPACKED.glob("lib/*/security/pam_duo.so"), None) else "no libpam-duo (packaging/install-deps --bench)"


def module():
    """The module's path, its library made known to this private host's loader."""
    found = next(UNPACKED.glob("lib/*/security/pam_duo.so"))
    libraries = next(UNPACKED.glob("usr/lib/*/libduo.so.3")).parent
    Path("/etc/ld.so.conf.d/duo.conf").write_text(f"{libraries}\n")
    subprocess.run(["ldconfig", "-X"], check=True, capture_output=True)
    return found


def configure(name, host, ca, **settings):
    """A configuration of pam_duo; returns the arguments for its PAM line."""
    path = Path(f"/etc/security/pam_duo-{name}.conf")
    settings = {"host": host, "ikey": "D" * 20, "skey": "s" * 40, "cafile": ca, "autopush": "yes", "prompts": 1, **settings}
    path.write_text("[duo]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    os.chmod(path, 0o600)
    return f"conf={path}"
