"""What measurements stand on: the private host's accounts and services, and programs beside the built ones."""

import itertools
import os
import resource
import subprocess
from pathlib import Path

from lab import accounts, pam, paths, process, tls
from lab.page import close_all
from lab.stack import Stack
from lab.syslog import Syslog

from . import duo
from .peer import Peer

# What else this machine does is not to be measured.
NICENESS = -15

PLACE = Path("/run/lab/bench")
LOGIN = PLACE / "login"


def first(*processes):
    """Lets them run before others on a kernel that shares its processors out by session."""
    for number in processes:
        try:
            Path(f"/proc/{number}/autogroup").write_text(str(NICENESS))
        except OSError:
            # There is no such sharing; the priority of each process is enough.
            return


class Stage:
    """The private host. What needs time to set up is set up when it is asked for."""

    def __init__(self):
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        first("self")
        PLACE.mkdir(parents=True)
        self.syslog = Syslog()
        accounts.create()
        self._numbers = itertools.count()
        self._tls = None
        source = Path(__file__).parent / "login.c"
        subprocess.run(["gcc", "-O2", "-Wall", "-o", LOGIN, source, "-lpam"], check=True)
        pam.protect()
        self.service("permit", "pam_permit.so")
        self.service("ours", str(paths.MODULE))

    def service(self, name, module):
        """A PAM service of that module alone."""
        pam.write(f"bench-{name}", f"auth required {module}\naccount required pam_permit.so\n")

    def duo(self, name, server, ca, **settings):
        """The same with pam_duo, which is to call that server."""
        arguments = duo.configure(name, f"localhost:{server.port}", ca, **settings)
        self.service(name, f"{duo.module()} {arguments}")

    def directory(self, name):
        """A new one."""
        return PLACE / f"{next(self._numbers)}-{name}"

    def tls(self):
        """Files (certificate, key, ca) for localhost and 127.0.0.1."""
        if self._tls is None:
            self._tls = tls.make(PLACE / "tls", name="DNS:localhost,IP:127.0.0.1")
        return self._tls

    def stack(self, plain=False, **settings):
        """Server and daemon, over TLS unless `plain`. A tap is enough."""
        settings = {"confirm": "tap", "wait": "60s", **settings}
        stack = Stack(self.directory("stack"), tls=None if plain else self.tls(), **settings)
        first(*(running.pid for running in process.RUNNING))
        return stack

    def answering(self, stack, user="alice", watch=False):
        """A device of the user that approves at once, or with `watch` only tells what comes."""
        approver = stack.approver(user)
        approver.stop()
        return self.peer("approve", approver.home, *(["watch"] if watch else []))

    def peer(self, *words, **options):
        """A bench-peer."""
        peer = Peer(self.directory("peer"), *words, **options)
        first(peer.pid)
        return peer

    def clear(self):
        """Ends what a measurement has left running."""
        close_all()
        for running in list(process.RUNNING):
            running.stop()

    def end(self):
        self.clear()
