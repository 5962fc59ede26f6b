"""A relay that cheats: a proxy in front of the real server, which everybody takes for the server.

    relay = HostileRelay(server)        # the daemon and the device are given relay.origin
    relay.change = some_function        # see `change`

What it knows of a pairing is what a relay sees. `Seen` is for the worse case: a relay whose owner has also read
the link or the ticket over somebody's shoulder.

In front of it stands Caddy, which takes HTTP/1.1 (browsers) and HTTP/2 without TLS (daemon and native approver) on one
address.
"""

import base64
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .fake_host import CROCKFORD, expand
from .forger import sha256
from .process import Process, accepts, free_port, wait_until

CADDYFILE = """{
	admin off
	auto_https off
	servers {
		protocols h1 h2c
	}
}
http://127.0.0.1:%d {
	reverse_proxy 127.0.0.1:%d {
		flush_interval -1
	}
}
"""

# Headers that belong to one connection.
HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "accept-encoding"}


class Call:
    """A call on its way. A function that changes it may set `body`, or `answer` to answer it itself."""

    def __init__(self, method, path, body):
        self.method = method
        self.path = path.split("?")[0]
        self.body = body
        self.answer = None

    def slot(self, method):
        """The slot of a mailbox that is read (GET) or written (POST, PUT); "info" for the mailbox itself."""
        words = self.path.strip("/").split("/")
        if words[:2] != ["v1", "mailboxes"] or self.method != method:
            return None
        return words[3] if len(words) == 4 else "info"

    @property
    def mailbox(self):
        return self.path.strip("/").split("/")[2]

    def mail(self):
        return json.loads(self.body)["data"]


class HostileRelay:
    """The proxy. `change(call)` sees each call before it goes on; `changed(call, answer)` each answer that is JSON, and
    returns the one to pass on."""

    def __init__(self, server):
        self.server = server
        self.change = lambda call: None
        self.changed = lambda call, answer: answer
        # Every mail that was put into a slot, in order: (slot, mailbox, mail).
        self.mails = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        config = server.directory / "Caddyfile"
        config.write_text(CADDYFILE % (port, self._http.server_address[1]))
        argv = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
        home = {"HOME": str(server.directory), "XDG_DATA_HOME": str(server.directory)}
        self._front = Process("caddy", argv, server.directory / "caddy.log", env=home)
        wait_until(lambda: not self._front.alive() or accepts(port), 10, "caddy listens")
        assert self._front.alive(), self._front.log()
        # Proofs name the origin that their maker knows.
        server.stop()
        server.origin = self.origin
        server.start()

    def stop(self):
        self._front.stop()
        self._http.shutdown()
        self._http.server_close()

    def honest(self):
        """Passes everything on from now on."""
        self.change = lambda call: None
        self.changed = lambda call, answer: answer

    def last(self, slot):
        """The last mail that was put into that slot of any mailbox."""
        return [mail for put, _, mail in self.mails if put == slot][-1]

    def upstream(self, method, path, body=None, headers=None):
        """A call of the relay's own at the real server: status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def _handler(relay):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                call = Call(self.command, self.path, body)
                for method in ("POST", "PUT"):
                    if call.slot(method) in ("m1", "m2", "m3"):
                        relay.mails.append((call.slot(method), call.mailbox, call.mail()))
                relay.change(call)
                if call.answer is not None:
                    return self.reply(*call.answer)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                upstream = http.client.HTTPConnection("127.0.0.1", relay.server.port, timeout=60)
                try:
                    upstream.request(self.command, self.path, call.body, headers)
                    self.hand_back(call, upstream.getresponse())
                except OSError:
                    self.close_connection = True
                finally:
                    upstream.close()

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

            def hand_back(self, call, answer):
                headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
                if "event-stream" in (answer.getheader("content-type") or ""):
                    return self.stream(answer, headers)
                body = answer.read()
                if "application/json" in (answer.getheader("content-type") or "") and answer.status < 300:
                    body = json.dumps(relay.changed(call, json.loads(body))).encode()
                self.reply(answer.status, body, headers)

            def reply(self, status, body, headers=()):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers or [("content-type", "application/json")]:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def stream(self, answer, headers):
                self.send_response(answer.status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                while piece := answer.read1(65536):
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        return Handler


class Seen:
    """What somebody can do who has read a ticket, as typed or in a link: its keys follow from it."""

    def __init__(self, ticket):
        number = 0
        for letter in ticket.lower().replace("-", ""):
            number = number << 5 | CROCKFORD.index(letter)
        self.secret = (number >> 2).to_bytes(16, "big")
        self.mailbox = expand(self.secret, b"mailbox").hex()

    def open_first(self, mail, key_hash):
        mail = base64.b64decode(mail)
        aad = bytes.fromhex(self.mailbox) + key_hash
        return AESGCM(expand(self.secret, b"card")).decrypt(mail[:12], mail[12:], aad)

    def first(self, plaintext, key_hash):
        """m1 for a host of that key."""
        aad = bytes.fromhex(self.mailbox) + key_hash
        sealed = AESGCM(expand(self.secret, b"card")).encrypt(bytes(12), plaintext, aad)
        return base64.b64encode(bytes(12) + sealed).decode()

    def open_second(self, mail, first):
        mail = base64.b64decode(mail)
        plaintext = AESGCM(expand(self.secret, b"reveal")).decrypt(mail[:12], mail[12:], sha256(first))
        return json.loads(plaintext)

    def second(self, reveal, first):
        """m2 for the device that sent this m1."""
        sealed = AESGCM(expand(self.secret, b"reveal")).encrypt(bytes(12), json.dumps(reveal).encode(), sha256(first))
        return base64.b64encode(bytes(12) + sealed).decode()
