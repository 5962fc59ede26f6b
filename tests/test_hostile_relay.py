"""A relay that means harm, at the real daemon and a real PAM application: nobody is let in by it, everything ends in
time, the daemon stays small, and whoever is approved properly is let in as soon as the relay lets that through.

The same by the thousand, and each bit of a decision, is in daemon/src/login/model.
"""

import base64
import json
import socket
import struct
import time
from pathlib import Path

import pytest
from lab import pam, paths, process, tls
from lab.approver import Approver
from lab.daemon import Daemon
from lab.forger import Forger, Key, envelope, key_id, seal, sha256
from lab.process import wait_until
from lab.raw_relay import RawRelay, response
from lab.server import Server
from lab.terminal import Terminal

MIB = 1024 * 1024
# What the daemon may grow by while it is sent a hundred times as much.
MOST_GROWTH = 24 * MIB
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
# What a server says must not reach whoever logs in.
LURE = "type a recovery code at https://evil.example"
HELLO = b'event: hello\ndata: {"server":"x","epoch":"y"}\n\n'


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Field:
    """The relay and what is behind it, the daemon, and the devices of alice and bob in a forger's hands."""

    def __init__(self, directory, certificate):
        self.directory = directory
        self.server = Server(directory / "server")
        self.relay = RawRelay(self.server, certificate)
        settings = {"confirm": "tap", "wait": "40s", "codes": []}
        self.daemon = Daemon(directory / "daemon", self.relay.origin, ca=self.relay.ca, **settings).start()
        # A key id is the fingerprint in the alphabet of URLs.
        host = self.daemon.status()["host_key"].removeprefix("SHA256:")
        self.relay.host = host.replace("+", "-").replace("/", "_")
        self.daemon.join(self.server.token())
        self.cursors = {}
        self.alice = self.device("alice")
        self.bob = self.device("bob")
        self.host_key = json.loads((self.directory / "alice-phone" / "hosts.json").read_text())[0]["key"]

    def device(self, user, name="phone"):
        phone = Approver(self.directory / f"{user}-{name}", name, server_ca=self.relay.ca).pair(user)
        phone.stop()
        return Forger(phone.home, self.relay.origin)

    def login(self, user="alice"):
        """A login of that user, and its request as the device got it."""
        while self.poll(user):
            pass
        run = Terminal(["pamtester", "lab", user, "authenticate"], timeout=20)
        return run, wait_until(lambda: self.requests(user), 10, "a request")[0]

    def poll(self, user):
        """What has come for the user's device since the last time; a part of it, where it is much."""
        forger = getattr(self, user)
        call = f"/v1/poll?wait=0&after={self.cursors.get(user, '')}"
        polled = forger.relay.call("GET", call, token=forger.token)
        self.cursors[user] = polled["cursor"]
        return [event["data"] for event in polled["events"] if event["event"] == "message"]

    def requests(self, user):
        messages = [one for one in self.poll(user) if json.loads(one["envelope"])["type"] == "request"]
        return [getattr(self, user).open(one, self.host_key) for one in messages]

    def approval(self, request, forger=None, key=None, **fields):
        """An approval of the request, sealed as the device seals it."""
        forger = forger or self.alice
        body = forger.decision(request, **fields)
        return self.sealed(request, body, (key or forger.key).sign(body), forger.key.line)

    def sealed(self, request, body, signature, sender, kind="decision", to=None):
        """Anything, sealed as a decision about the request, to it or to another one."""
        parsed = json.loads(request)
        recipient = base64.b64decode(json.loads(to or request)["reply_key"])
        about = envelope(kind, key_id(sender), key_id(self.host_key), parsed["id"])
        return seal(kind, sender, recipient, sha256(recipient), about, body, signature)

    def is_connected(self):
        return self.relay.is_streaming() and self.daemon.status()["connected"]

    def memory(self):
        """Most memory that the daemon ever had, in bytes."""
        status = Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def fresh_memory(self):
        """The same, counted from now on."""
        Path(f"/proc/{self.daemon.process.pid}/clear_refs").write_text("5")
        return self.memory()

    def stop(self):
        self.relay.close()
        self.daemon.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def shared(host, tmp_path_factory):
    """One of everything for all tests here: what is attacked is meant to survive."""
    directory = tmp_path_factory.mktemp("hostile")
    certificate = tls.make(directory / "tls")
    with pytest.MonkeyPatch.context() as patch:
        # The forgers are Python's own clients.
        patch.setenv("SSL_CERT_FILE", str(certificate[2]))
        field = Field(directory, certificate)
        # Not to be stopped after the first test.
        for part in (field.server.process, field.daemon.process):
            process.RUNNING.remove(part)
        yield field
        field.stop()


@pytest.fixture
def field(shared, clean):
    pam.write("lab", f"auth required {paths.MODULE}\naccount required pam_permit.so\n")
    yield shared
    shared.relay.honest()
    shared.relay.cut()
    wait_until(shared.is_connected, 15, f"the daemon is back; it said:\n{shared.daemon.process.log()[-3000:]}")


def still_waits(run, seconds=0.4):
    """Nothing opened and nothing ended."""
    time.sleep(seconds)
    assert run.child.isalive(), run.child.read()


def opens(field, run, request, forger=None):
    """The control: a proper decision lets in, so whatever came before was judged and refused."""
    forger = forger or field.alice
    body = forger.decision(request)
    assert forger.send(request, body, forger.key.sign(body))
    assert run.finish() == 0
    assert "successfully authenticated" in run.text


def refused(run):
    assert run.finish() != 0
    assert "successfully authenticated" not in run.text
    assert "evil.example" not in run.text


def hangs_up(run):
    run.kill()


# What it can make of what it has seen.


def test_honest_it_lets_the_approved_in(field):
    run, request = field.login()
    opens(field, run, request)


def test_an_old_approval_is_replayed(field):
    run, old = field.login()
    opens(field, run, old)
    again, request = field.login()
    replayed = field.relay.decisions[-1]
    field.relay.decide(replayed, {**replayed, "envelope": field.approval(request)["envelope"]})
    # And with the device's help: what it signed then, sealed to the new request.
    body = field.alice.decision(old)
    field.relay.decide(field.sealed(request, body, field.alice.key.sign(body), field.alice.key.line))
    still_waits(again)
    opens(field, again, request)


def test_the_approval_of_one_login_is_given_to_the_other(field):
    one, first = field.login()
    two, second = field.login()
    approval = field.approval(first)
    swapped = field.approval(second)["envelope"]
    field.relay.decide({**approval, "envelope": swapped})
    body = field.alice.decision(first)
    field.relay.decide(field.sealed(second, body, field.alice.key.sign(body), field.alice.key.line))
    still_waits(two)
    assert one.child.isalive()
    # Each by its own.
    opens(field, two, second)
    field.relay.decide(approval)
    assert one.finish() == 0


def test_the_approval_of_one_user_is_given_to_another(field):
    run, request = field.login()
    bobs, other = field.login("bob")
    body = field.bob.decision(request)
    signature = field.bob.key.sign(body)
    for sender in (field.bob.key.line, field.alice.key.line):
        field.relay.decide(field.sealed(request, body, signature, sender))
    field.relay.decide({**field.approval(other, field.bob), "envelope": field.approval(request)["envelope"]})
    still_waits(run)
    opens(field, run, request)
    opens(field, bobs, other, field.bob)


def test_an_approval_for_another_host_is_given_to_this_one(field):
    other = Daemon(field.directory / "other", field.relay.origin, ca=field.relay.ca, suffix="-2", confirm="tap", wait="40s")
    other.start().join(field.server.token())
    phone = Approver(field.directory / "on-both", "on-both", server_ca=field.relay.ca)
    phone.pair("alice").stop()
    phone.pair("alice", run=other.run).stop()
    forger = Forger(phone.home, field.relay.origin)
    run, _ = field.login()
    pam.write("lab", f"auth required {paths.MODULE} socket={other.run}/pam.sock\naccount required pam_permit.so\n")
    there = Terminal(["pamtester", "lab", "alice", "authenticate"], timeout=20)
    keys = [known["key"] for known in json.loads((phone.home / "hosts.json").read_text())]
    request = forger.request(field.host_key)
    asked_there = forger.request(next(key for key in keys if key != field.host_key))
    body = forger.decision(asked_there)
    signature = forger.key.sign(body)
    field.relay.decide(field.sealed(request, body, signature, forger.key.line))
    field.relay.decide(field.sealed(request, body, signature, forger.key.line, to=asked_there))
    still_waits(run)
    assert forger.send(asked_there, body, signature)
    assert there.finish() == 0
    opens(field, run, request, forger)
    field.daemon.command("revoke", "alice", "on-both")


def test_a_key_that_was_never_paired_answers(field):
    run, request = field.login()
    stranger = Key.new(field.directory)
    body = field.alice.decision(request)
    for sender in (stranger.line, field.alice.key.line):
        field.relay.decide(field.sealed(request, body, stranger.sign(body), sender))
    for signature in ("", field.alice.key.sign(body, "auth@countersign.org"), field.alice.key.sign(b"{}")):
        field.relay.decide(field.sealed(request, body, signature, field.alice.key.line))
    still_waits(run)
    opens(field, run, request)


@pytest.mark.parametrize("kind", ["receipt", "closed", "request", "notice", "removal"])
def test_another_kind_of_message_stands_in_for_a_decision(field, kind):
    run, request = field.login()
    body = field.alice.decision(request)
    signature = field.alice.key.sign(body)
    field.relay.decide(field.sealed(request, body, signature, field.alice.key.line, kind=kind))
    field.relay.inject(f"event: message\ndata: {json.dumps(field.approval(request))}\n\n")
    still_waits(run)
    opens(field, run, request)


def test_a_key_that_was_revoked_answers(field):
    lost = field.device("alice", "lost")
    run, request = field.login()
    field.daemon.command("revoke", "alice", "lost")
    field.relay.decide(field.approval(request, lost))
    still_waits(run)
    again, second = field.login()
    field.relay.decide(field.approval(second, lost))
    still_waits(again)
    opens(field, again, second)
    opens(field, run, request)


def test_an_approval_with_any_bit_flipped_opens_nothing(field):
    run, request = field.login()
    genuine = field.approval(request)
    envelope_bits = range(0, len(genuine["envelope"]) * 8, 41)
    sealed_bits = range(0, len(genuine["sealed"]) * 8, 397)
    for part, bits in (("envelope", envelope_bits), ("sealed", sealed_bits)):
        for bit in bits:
            data = bytearray(genuine[part].encode())
            data[bit // 8] ^= 1 << (bit % 8)
            text = data.decode("latin-1")
            if text != genuine[part] and text.isascii():
                field.relay.decide({**genuine, part: text})
    still_waits(run)
    field.relay.decide(genuine)
    assert run.finish() == 0


def test_decisions_are_dropped_until_they_come(field):
    field.relay.decided = lambda decision: field.relay.raw(response(202, {}))
    run, request = field.login()
    body = field.alice.decision(request)
    assert field.alice.send(request, body, field.alice.key.sign(body))
    still_waits(run)
    field.relay.decide(field.relay.decisions[-1])
    assert run.finish() == 0


def test_decisions_come_fifty_times_and_backwards(field):
    one, first = field.login()
    two, second = field.login()
    approvals = [field.approval(first), field.approval(second, decision="deny")]
    field.relay.decide(*approvals[::-1] * 50)
    assert one.finish() == 0
    refused(two)
    granted = [record for record in field.daemon.audit() if record.get("request") == first.decode()]
    assert [record["outcome"] for record in granted if record["event"] == "login"] == ["granted"]


def test_a_decision_that_comes_after_the_deadline_opens_nothing(field):
    with short(field):
        run, request = field.login()
        late = field.approval(request)
        refused(run)
        again, _ = field.login()
        field.relay.decide(late)
        still_waits(again)
        again.kill()


# What it can do to the connection, while a login waits: that one goes on waiting, and is let in afterwards.


def answers(data):
    """The same bytes to each of these calls."""
    return lambda field: field.relay.raw(data)


def flood(head, piece, size=100 * MIB):
    return lambda field: field.relay.flood(head, piece, size)


LIES = {
    "status-204": answers(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "status-301": answers(b"HTTP/1.1 301 Moved\r\nlocation: https://127.0.0.1:1/trap\r\ncontent-length: 0\r\n\r\n"),
    "status-307": answers(b"HTTP/1.1 307 Moved\r\nlocation: /trap\r\ncontent-length: 0\r\n\r\n"),
    "status-401": answers(response(401, {"code": "x", "message": "y"})),
    "status-503": answers(response(503, {"code": "x", "message": "bad\x1b[31m\nline: " + LURE})),
    "status-999": answers(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"),
    "status-words": answers(b"HTTP/1.1 OK fine\r\n\r\n"),
    "another-protocol": answers(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "http-2-unasked": answers(b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)),
    "retry-after-huge": answers(response(429, {}, "retry-after: 99999999999999999999\r\n")),
    "retry-after-negative": answers(response(429, {}, "retry-after: -1\r\n")),
    "length-too-long": answers(HEAD + b"content-length: 100000\r\n\r\n{}"),
    "length-too-short": answers(HEAD + b'content-length: 3\r\n\r\n{"listening":1}'),
    "length-negative": answers(HEAD + b"content-length: -1\r\n\r\n{}"),
    "length-huge": answers(HEAD + b"content-length: 18446744073709551615\r\n\r\n{}"),
    "length-twice": answers(HEAD + b"content-length: 2\r\ncontent-length: 4\r\n\r\n{}{}"),
    "length-and-chunked": answers(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}\r\n0\r\n\r\n"),
    "chunk-negative": answers(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n"),
    "chunk-huge": answers(CHUNKED + b"fffffffffffffffff\r\n{}"),
    "encoding-gzip": answers(response(200, b"\x1f\x8b\x08" + bytes(20), "content-encoding: gzip\r\n")),
    "header-folded": answers(HEAD + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\n{}"),
    "header-nul": answers(HEAD + b"x: \0\r\ncontent-length: 2\r\n\r\n{}"),
    "one-huge-header": flood(HEAD + b"x: ", b"v" * 65536),
    "headers-without-end": flood(HEAD, b"x: y\r\n" * 10_000),
    "1xx-without-end": flood(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 2_000),
    "body-of-100-MiB": flood(HEAD + b"content-length: 104857600\r\n\r\n", b" " * 65536),
    "chunks-without-end": flood(CHUNKED, chunk(b"[" * 65536)),
    "chunk-extension-without-end": flood(CHUNKED + b"1;", b"x" * 65536),
    "silence": lambda field: field.relay.silent(),
}


def attacked(field, run, path, answer, hits=1):
    """Answers the host's calls of that path so, until it has seen that; the login goes on waiting."""
    field.relay.hits = 0
    field.relay.attack = lambda call: answer(field) if call.who == field.relay.host and call.path == path else None
    field.relay.cut()
    wait_until(lambda: field.relay.hits >= hits, 15, "the daemon meets the attack")
    still_waits(run, 0.1)
    field.relay.honest()


@pytest.mark.parametrize("name", LIES)
def test_the_stream_is_answered_with(field, name):
    """The login goes on waiting, and is let in when the stream is back."""
    before = field.fresh_memory()
    run, request = field.login()
    attacked(field, run, "/v1/stream", LIES[name])
    opens(field, run, request)
    assert field.memory() - before < MOST_GROWTH


@pytest.mark.parametrize("name", ["status-307", "length-huge", "headers-without-end", "chunks-without-end", "silence"])
def test_a_post_is_answered_with(field, name):
    """The login whose post it is hears so in time; the one beside it is let in."""
    before = field.fresh_memory()
    run, request = field.login()
    field.relay.attack = lambda call: LIES[name](field) if call.path == "/v1/messages" else None
    began = time.monotonic()
    refused(Terminal(["pamtester", "lab", "alice", "authenticate"], timeout=20))
    assert time.monotonic() - began < 6
    field.relay.honest()
    opens(field, run, request)
    assert field.memory() - before < MOST_GROWTH


STREAMS = {
    "no-hello": chunk(b": hi\n\n") * 3,
    "hello-forever": chunk(HELLO) * 5_000,
    "a-line-of-100-MiB": None,
    "comments-without-end": None,
    "decisions-that-are-none": chunk(HELLO) + chunk(b"event: decision\ndata: null\n\n"),
    "no-text": chunk(HELLO) + chunk(b"event: decision\ndata: \xff\xfe\n\n"),
    "nested": chunk(HELLO) + chunk(b"event: decision\ndata: " + b"[" * 20_000 + b"\n\n"),
    "half-an-event": chunk(HELLO) + chunk(b'event: decision\ndata: {"envel'),
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_stream_brings(field, name):
    before = field.fresh_memory()
    run, request = field.login()
    endless = {
        "a-line-of-100-MiB": flood(EVENTS + chunk(HELLO), chunk(b"x" * 65536)),
        "comments-without-end": flood(EVENTS + chunk(HELLO), chunk(b":\n" * 32768), 20 * MIB),
    }
    answer = endless.get(name) or answers(EVENTS + (STREAMS[name] or b""))
    attacked(field, run, "/v1/stream", answer)
    opens(field, run, request)
    assert field.memory() - before < MOST_GROWTH


def test_the_stream_ends_at_many_of_its_bytes(field):
    """At any byte of a connection, by the thousand, in daemon/src/login/model/hostile.rs."""
    run, request = field.login()
    whole = EVENTS + chunk(HELLO) + chunk(b"event: decision\ndata: {}\n\n")
    for length in range(0, len(whole), 23):
        attacked(field, run, "/v1/stream", answers(whole[:length]))
    opens(field, run, request)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


GREETINGS = {
    "nothing": lambda connection: connection.close(),
    "a-reset": reset,
    "plain-text": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"),
    "a-broken-record": lambda connection: connection.sendall(b"\x16\x03\x03\xff\xff" + bytes(70_000)),
    "an-alert": lambda connection: connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28"),
    "silence": lambda connection: (connection.settimeout(10), connection.recv(10_000), connection.recv(1)),
}


@pytest.mark.parametrize("name", GREETINGS)
def test_a_connection_is_greeted_with(field, name):
    run, request = field.login()
    field.relay.hits = 0
    field.relay.greet = GREETINGS[name]
    field.relay.cut()
    # Streams and posts share a connection, so this one has to be made anew.
    field.relay.attack = lambda call: field.relay.raw(b"")
    wait_until(lambda: field.relay.hits >= 1, 15, "the daemon meets the attack")
    still_waits(run, 0.1)
    field.relay.honest()
    opens(field, run, request)


class short:
    """A policy that waits for as short a time as there is."""

    def __init__(self, field):
        self.daemon = field.daemon

    def set(self, wait):
        self.daemon.configure(confirm="tap", wait=wait, codes=[])
        self.daemon.reload()
        time.sleep(0.3)

    def __enter__(self):
        self.set("5s")

    def __exit__(self, *_):
        self.set("40s")


def test_whatever_it_does_every_login_ends_in_time(field):
    """Three at once, each under an attack that does not stop before its end."""
    with short(field):
        for answer in (LIES["silence"], LIES["chunks-without-end"], LIES["status-503"]):
            runs = [field.login()[0] for _ in range(2)]
            field.relay.attack = lambda call: answer(field) if call.who == field.relay.host else None
            field.relay.cut()
            began = time.monotonic()
            runs.append(Terminal(["pamtester", "lab", "alice", "authenticate"], timeout=20))
            for run in runs:
                refused(run)
            assert time.monotonic() - began < 10
            field.relay.honest()
            wait_until(field.is_connected, 15, "the daemon is back")
