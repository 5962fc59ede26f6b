"""A place where the server should be: passes everything on to it, until a fault is put in its place."""

import socket
import ssl
import struct
import subprocess
import threading

RESET = struct.pack("ii", 1, 0)


class Front:
    """Listens on a port of its own; `mend` takes a fault away.

    `certificates` are those of a good server, of a bad one and of one that was good once: pairs of files, for the faults
    that speak TLS. `at` is where it listens, with any free port unless told.
    """

    def __init__(self, port, certificates=(), at=("127.0.0.1", 0)):
        self._target = port
        self._address = at[0]
        self._certificates = certificates
        self._open = []
        self._fillers = []
        self._deaf = threading.Event()
        self._listener = None
        self._behind = self._pass_on
        self._listen(at[1])
        self.port = self._listener.getsockname()[1]

    # The faults.

    def refused(self):
        self._shut()

    def dropped(self):
        """Connections that were open bring nothing more; for new ones SYNs are dropped, by a queue that is full."""
        self._deafen()
        self._shut(keep=True)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def silent(self):
        """Connections open, but nothing ever comes back."""
        self._deafen()
        self._behind = self._swallow

    def hung(self):
        """Speaks TLS, and never answers."""
        self._replace(self._speak(self._certificates[0], b""))

    def forgotten(self):
        """As by a router that has forgotten its connections: nothing more comes on those that are open, new ones are well."""
        self._deafen()

    def server_error(self):
        self._replace(self._speak(self._certificates[0], b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))

    def too_many(self):
        answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        self._replace(self._speak(self._certificates[0], answer))

    def redirected(self):
        answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n\r\n"
        self._replace(self._speak(self._certificates[0], answer))

    def garbage(self):
        self._replace(self._speak(self._certificates[0], b"\x00\xff\x00 this is not HTTP \r\n\r\n" * 100))

    def bad_certificate(self):
        self._replace(self._speak(self._certificates[1], b""))

    def expired(self):
        self._replace(self._speak(self._certificates[2], b""))

    def mend(self):
        self._shut()
        self._behind = self._pass_on
        self._listen(self.port)

    def stop(self):
        self._shut()

    # How.

    def _listen(self, port):
        self._listener = socket.create_server((self._address, port), backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._behind, args=(near,), daemon=True).start()

    def _shut(self, keep=False):
        """Nobody listens; what was open is reset, unless it is to stay as it is."""
        if self._listener:
            # accept() in another thread goes on otherwise.
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
            self._listener = None
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        if not keep:
            for end in self._open:
                _reset(end)
            self._open.clear()

    def _replace(self, behind):
        self._shut()
        self._behind = behind
        self._listen(self.port)

    def _deafen(self):
        """What is open stays open, and nothing is passed on any more."""
        self._deaf.set()
        self._deaf = threading.Event()

    def _pass_on(self, near):
        deaf = self._deaf
        far = socket.create_connection(("127.0.0.1", self._target))
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open += [near, far]
        threading.Thread(target=self._copy, args=(far, near, deaf), daemon=True).start()
        self._copy(near, far, deaf)

    def _copy(self, source, target, deaf):
        try:
            while data := source.recv(65536):
                if not deaf.is_set():
                    target.sendall(data)
        except OSError:
            pass
        if not deaf.is_set():
            for end in (source, target):
                _reset(end)

    def _swallow(self, near):
        self._open.append(near)
        try:
            while near.recv(65536):
                pass
        except OSError:
            pass

    def _speak(self, certificate, answer):
        """TLS, and the same answer to everything."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

        def serve(near):
            try:
                with context.wrap_socket(near, server_side=True) as secured:
                    while secured.recv(65536):
                        secured.sendall(answer)
            except OSError:
                pass

        return serve


def _reset(end):
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


class SilentResolver:
    """A name server that never answers, as the only one of this private host."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.53", 53))
        with open("/etc/resolv.conf", "w") as file:
            file.write("nameserver 127.0.0.53\n")

    def stop(self):
        self._socket.close()


class IgnorantResolver(SilentResolver):
    """One that knows no name (NXDOMAIN)."""

    def __init__(self):
        super().__init__()
        self._socket.settimeout(0.1)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self):
        while not self._ends.is_set():
            try:
                question, caller = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            # The same question, as a response that says that there is no such name.
            self._socket.sendto(question[:2] + b"\x81\x83" + question[4:], caller)

    def stop(self):
        self._ends.set()
        self._thread.join()
        super().stop()


class Packets:
    """Real packets of one port of loopback, thrown away before anybody has them."""

    TABLE = "inet countersign_lab"

    def __init__(self, port):
        self._port = port

    def drop(self):
        self._rule("")

    def lose(self, percent):
        """That many of a hundred, in each direction."""
        self._rule(f"numgen random mod 100 < {percent}")

    def mend(self):
        self._nft(f"add table {self.TABLE}", f"delete table {self.TABLE}")

    def _rule(self, which):
        self.mend()
        lines = [f"add table {self.TABLE}", f"add chain {self.TABLE} lossy {{ type filter hook input priority 0; }}"]
        lines += [f"add rule {self.TABLE} lossy tcp {side} {self._port} {which} drop" for side in ("sport", "dport")]
        self._nft(*lines)

    def _nft(self, *lines):
        done = subprocess.run(["nft", "-f", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
