"""A relay that means harm, down to the bytes: TLS and HTTP/1.1 by hand, in front of the real server.

    relay = RawRelay(server, tls.make(directory))   # daemon and devices are given relay.origin
    relay.attack = function                         # function(call) -> None to pass on, or a function(connection)

What it is not told to spoil it passes on, so that everybody comes back after an attack. It knows whose a call is: tokens
are given out through it.
"""

import http.client
import json
import socket
import ssl
import threading

from .forger import key_id

CHUNK = 65536
# Headers that belong to one connection.
HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "accept-encoding"}


class Call:
    """A call as it came."""

    def __init__(self, method, path, headers, body, who):
        self.method = method
        self.path = path.split("?")[0]
        self.full_path = path
        self.headers = headers
        self.body = body
        # Key id of the caller, where a token or a proof says so.
        self.who = who

    def json(self):
        return json.loads(self.body) if self.body else {}


class RawRelay:
    """The relay. Whatever `attack` gives back writes the answer itself, with all the freedom of a socket."""

    def __init__(self, server, files):
        certificate, key, self.ca = files
        self.server = server
        self.host = None
        self._tokens = {}
        self._streams = []
        # Connections on which an attack has begun.
        self._spoiled = []
        self._lock = threading.Lock()
        self.honest()
        # Decisions that devices have posted, in order.
        self.decisions = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        # Proofs name the origin that their maker knows.
        server.stop()
        server.origin = self.origin
        server.start()

    def honest(self):
        """Passes everything on from now on, and ends what it has begun."""
        spoiled, self._spoiled = self._spoiled, []
        for connection in spoiled:
            _end(connection)
        self.attack = lambda call: None
        # What becomes of a connection before a byte of it is understood.
        self.greet = None
        # What becomes of a decision that a device posts: None passes it on.
        self.decided = lambda decision: None
        # What becomes of each piece of the host's stream.
        self.piece = lambda data: data
        # How often `attack` or `greet` took something over.
        self.hits = 0

    def close(self):
        self._listener.close()
        self.cut()

    def cut(self):
        """Ends all streams of the host."""
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            _end(stream)

    def inject(self, data):
        """Writes to the host's streams; text becomes bytes."""
        data = data.encode() if isinstance(data, str) else data
        with self._lock:
            for stream in self._streams:
                try:
                    stream.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                except OSError:
                    pass

    def decide(self, *sealed):
        """Hands decisions to the host."""
        for one in sealed:
            self.inject(f"event: decision\ndata: {json.dumps(one)}\n\n")

    def is_streaming(self):
        return bool(self._streams)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain):
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.greet:
                self._spoiled.append(plain)
                self.hits += 1
                return self.greet(plain)
            connection = self._context.wrap_socket(plain, server_side=True)
            reader = connection.makefile("rb")
            while call := self._read(reader):
                self._answer(connection, call)
        except (OSError, ValueError):
            pass
        finally:
            _end(plain)

    def _read(self, reader):
        line = reader.readline(CHUNK)
        if not line.strip():
            return None
        method, path, _ = line.decode().split()
        headers = {}
        while (line := reader.readline(CHUNK)).strip():
            name, value = line.decode().split(":", 1)
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        return Call(method, path, headers, body, self._tokens.get(headers.get("authorization")))

    def _answer(self, connection, call):
        if call.path == "/v1/decisions":
            decision = call.json()["decision"]
            self.decisions.append(decision)
            if answer := self.decided(decision):
                return answer(connection)
        if call.path == "/v1/auth/token":
            call.who = key_id(json.loads(call.json()["statement"])["key"])
        if call.path == "/v1/auth/challenge":
            call.who = key_id(call.json()["key"])
        if answer := self.attack(call):
            self._spoiled.append(connection)
            self.hits += 1
            return answer(connection)
        if call.path == "/v1/poll" and call.who == self.host:
            # Where its stream was held back it would poll from then on: everything here goes by the stream.
            raise OSError("no polls")
        self._pass_on(connection, call)

    def _pass_on(self, connection, call):
        headers = {name: value for name, value in call.headers.items() if name not in HOP}
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            upstream.request(call.method, call.full_path, call.body or None, headers)
            answer = upstream.getresponse()
            if "event-stream" in (answer.getheader("content-type") or ""):
                return self._stream(connection, call, answer)
            body = answer.read()
            if call.path == "/v1/auth/token" and answer.status == 200:
                self._tokens["Bearer " + json.loads(body)["token"]] = call.who
            connection.sendall(response(answer.status, body))
        finally:
            upstream.close()

    def _stream(self, connection, call, answer):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        is_hosts = call.who == self.host
        while data := answer.read1(CHUNK):
            data = self.piece(data) if is_hosts else data
            if data:
                with self._lock:
                    connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                    if is_hosts and connection not in self._streams:
                        self._streams.append(connection)

    # What an attack can answer with.

    def raw(self, data, then=None):
        """These bytes, and then the end of the connection, or `then(connection)`."""

        def answer(connection):
            connection.sendall(data)
            if then:
                return then(connection)
            raise OSError("done")

        return answer

    def flood(self, head, piece, size):
        """A head, and a piece over and over until so many bytes are sent, or nobody takes them."""

        def answer(connection):
            connection.sendall(head)
            connection.settimeout(20)
            left = size
            while left > 0:
                connection.sendall(piece)
                left -= len(piece)
            raise OSError("done")

        return answer

    def silent(self, seconds=20):
        """Nothing, for longer than anybody waits."""

        def answer(connection):
            connection.settimeout(seconds)
            # Until the other side gives up.
            connection.recv(1)
            raise OSError("done")

        return answer


def response(status, body, headers=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def _end(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
