"""The server on a network of its own, and what can happen to it there.

A network namespace with a veth pair to the private host, which tests/run made: the server's kernel answers for closed ports,
the packets on the way are real ones. The daemon and the phone know the server by name.
"""

import contextlib
import ctypes
import signal
import subprocess
from pathlib import Path

from . import tls
from .broken import Front

NAME, PORT = "push.lab", 443
NAMESPACE = Path("/run/netns/push-lab")
HERE, THERE = "to-push-lab", "eth0"
OURS, ADDRESS = "10.77.0.1", "10.77.0.2"
# What runs a program there.
INSIDE = ("nsenter", f"--net={NAMESPACE}", "--")
TABLE = "inet countersign_lab"
HOSTS, RESOLVER = Path("/etc/hosts"), Path("/etc/resolv.conf")
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside():
    """This thread, and what it starts, in the server's namespace: a socket stays in the one in which it was made."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(namespace):
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    with open("/proc/thread-self/ns/net") as home, open(NAMESPACE) as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def _run(*argv, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


class Network:
    """The way to the server; each fault stays until `mend`. `tls` are the files of a server of that name."""

    def __init__(self, directory):
        self.tls = tls.make(directory / "good", name=f"DNS:{NAME}")
        bad = tls.make(directory / "bad", name=f"DNS:{NAME}")
        self._certificates = (self.tls[:2], bad[:2])
        self._server = self._front = None
        self._hosts, self._resolver = HOSTS.read_text(), RESOLVER.read_text() if RESOLVER.exists() else ""
        # On some systems a link to what is not in here.
        RESOLVER.unlink(missing_ok=True)
        _run("ip", "netns", "add", NAMESPACE.name)
        _run("ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", NAMESPACE.name)
        _run("ip", "addr", "add", f"{OURS}/30", "dev", HERE)
        _run("ip", "link", "set", HERE, "up")
        for words in (("addr", "add", f"{ADDRESS}/30", "dev", THERE), ("link", "set", THERE, "up"), ("link", "set", "lo", "up")):
            _run(*INSIDE, "ip", *words)
        self._name()

    def holds(self, server):
        """The server that runs there."""
        self._server = server

    def end(self):
        self._clear()
        if self._server:
            self._server.kill()
        HOSTS.write_text(self._hosts)
        _run("ip", "netns", "delete", NAMESPACE.name)

    def _name(self):
        HOSTS.write_text(f"{self._hosts}{ADDRESS} {NAME}\n")
        RESOLVER.write_text(self._resolver)

    # What happens on the network.

    def refused(self):
        """Nobody listens: what was open is gone, and the kernel there answers new connections with a reset."""
        self._server.kill()

    def reset(self):
        """Something on the way resets all that is open, and what opens as soon as it has opened."""
        self._filter(f"input tcp dport {PORT} tcp flags & (syn | rst) == 0 reject with tcp reset")

    def dropped(self):
        """Packets are thrown away, in both directions."""
        self._filter(f"input tcp dport {PORT} drop", f"output tcp sport {PORT} drop")

    def unplugged(self):
        """The private host has no way to anywhere."""
        _run("ip", "link", "set", HERE, "down")

    def silent(self):
        """The server hangs: the kernel there takes connections and what comes on them, and nothing ever comes back."""
        self._server.process.popen.send_signal(signal.SIGSTOP)

    def nameless(self):
        """What was open is gone, and the only name server never answers."""
        self._filter("input udp dport 53 drop")
        RESOLVER.write_text(f"nameserver {ADDRESS}\n")
        HOSTS.write_text(self._hosts)
        self._server.kill()
        self._server.start()

    # What answers in the server's place.

    def server_error(self):
        self._impostor("server_error")

    def garbage(self):
        self._impostor("garbage")

    def bad_certificate(self):
        self._impostor("bad_certificate")

    def mend(self):
        self._clear()
        if self._server.process.alive():
            self._server.process.popen.send_signal(signal.SIGCONT)
        else:
            self._server.start()

    def _clear(self):
        """The way is as it was."""
        _run("ip", "link", "set", HERE, "up")
        self._nft(f"add table {TABLE}", f"delete table {TABLE}")
        self._name()
        if self._front:
            self._front.stop()
            self._front = None

    # How.

    def _impostor(self, fault):
        self._server.kill()
        with inside():
            self._front = Front(PORT, self._certificates, at=(ADDRESS, PORT))
            getattr(self._front, fault)()

    def _filter(self, *rules):
        chains = [f"add chain {TABLE} {hook} {{ type filter hook {hook} priority 0; }}" for hook in ("input", "output")]
        self._nft(f"add table {TABLE}", *chains, *[f"add rule {TABLE} {rule}" for rule in rules])

    def _nft(self, *lines):
        _run(*INSIDE, "nft", "-f", "-", input="\n".join(lines) + "\n")
