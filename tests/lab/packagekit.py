"""PackageKit on the private host: its real daemon with apt behind it, and its command."""

import shutil
import time
from pathlib import Path

from .process import Process

DAEMON = Path("/usr/libexec/packagekitd")


def missing():
    """The programs that are not there."""
    programs = [] if shutil.which("pkcon") else ["pkcon"]
    return programs if DAEMON.exists() else [*programs, str(DAEMON)]


class PackageKit:
    """The daemon, whose apt works on a folder; the bus and `polkit` have to be there."""

    def __init__(self, directory, polkit, apt):
        self.directory = directory
        self.polkit = polkit
        self.apt = apt
        self.start()

    def start(self, **environment):
        """Starts it; it reads apt's settings now, and not again."""
        # Without that it clears its environment, and apt would work on this machine.
        argv = [DAEMON, "--keep-environment", "--disable-timer", "--verbose"]
        log = self.directory / f"packagekitd-{time.monotonic_ns()}.log"
        self.daemon = Process("packagekitd", argv, log, env={"APT_CONFIG": str(self.apt.config), **environment})
        self.daemon.wait_for("acquired name", 20)

    def restart(self, **environment):
        self.daemon.stop()
        self.start(**environment)

    def install(self, user, package):
        """The user's command, up to where it is about to be done, in the shell of somebody with an agent for passwords.

        It takes the shell's place, so that the agent is its own: the one that it would start is taken only in a session of
        logind's."""
        asker = self.polkit.asker(user)
        asker.run(f"exec env LC_ALL=C.UTF-8 pkcon --plain install {package}")
        asker.shell.expect(r"Proceed with changes\?[^\r\n]*$", timeout=30)
        asker.run("y")
        return asker
