"""A program at the daemon's sockets that is nobody's friend: of any user, saying whatever one likes."""

import contextlib
import json
import os
import pwd
import select
import socket
import time

from .daemon import RUN

EVERYBODY = RUN / "self.sock"
ROOT = RUN / "pam.sock"


@contextlib.contextmanager
def euid(user):
    """This process as another user, as far as the kernel's credentials of a new connection go."""
    os.seteuid(user if isinstance(user, int) else pwd.getpwnam(user).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def login(method="Begin", **fields):
    """A call of the login interface: what the PAM module would say of alice, but for the fields."""
    parameters = {"version": 1, "stage": "auth", "service": "lab", "user": "alice", **fields} if method == "Begin" else fields
    return {"method": f"org.countersign.Login.{method}", "parameters": parameters}


def manage(method, **parameters):
    """A call of the management interface."""
    return {"method": f"org.countersign.Manage.{method}", "parameters": parameters}


class Peer:
    """One connection."""

    def __init__(self, path=ROOT, user="root"):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        try:
            with euid(user):
                self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, call):
        """Sends a call; bytes go out as they are. A daemon that has closed already may have said why."""
        with contextlib.suppress(BrokenPipeError):
            self.socket.sendall(call if isinstance(call, bytes) else json.dumps(call).encode() + b"\0")

    def receive(self, seconds=5):
        """The next answer; None when the daemon has closed the connection."""
        deadline = time.monotonic() + seconds
        while b"\0" not in self._rest:
            assert self._readable(deadline), f"no answer within {seconds} s"
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                assert not self._rest, f"closed in the middle of an answer: {self._rest}"
                return None
            self._rest += piece
        answer, self._rest = self._rest.split(b"\0", 1)
        return json.loads(answer)

    def _readable(self, deadline):
        # Not select: a test may hold thousands of these.
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return poll.poll(max(0, deadline - time.monotonic()) * 1000)

    def call(self, call, seconds=5):
        self.send(call)
        return self.receive(seconds)

    def is_answered(self):
        """Whether there is something to receive."""
        return b"\0" in self._rest or bool(self._readable(0))

    def step(self, call, seconds=5):
        """What the daemon wants the module to do next."""
        return self.call(call, seconds)["parameters"]

    def wait_closed(self, seconds):
        """How long it took until the daemon had closed the connection, whatever else it said."""
        started = time.monotonic()
        while True:
            assert self._readable(started + seconds), f"still open after {seconds} s"
            try:
                if not self.socket.recv(65536):
                    return time.monotonic() - started
            except ConnectionResetError:
                return time.monotonic() - started

    def close(self):
        self.socket.close()


def ask(call, user="root", path=None, seconds=5):
    """One call on a connection of its own."""
    with Peer(path or (ROOT if user == "root" else EVERYBODY), user) as peer:
        return peer.call(call, seconds)
