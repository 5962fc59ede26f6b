"""polkit on the private host: a system bus, the authority, and people with an authentication agent on a terminal."""

import shutil
from pathlib import Path

from . import paths
from .process import Process, wait_until
from .terminal import on_terminal_of

BUS = Path("/run/dbus/system_bus_socket")
RULES = Path("/etc/polkit-1/rules.d")
EXAMPLES = Path(__file__).resolve().parents[2] / "polkit" / "examples"
AUTHORITY = Path("/usr/lib/polkit-1/polkitd")
PROGRAMS = ("dbus-daemon", "pkexec", "pkcheck", "pkttyagent")
EXEC = "org.freedesktop.policykit.exec"


def missing():
    """The programs that are not there."""
    programs = [program for program in PROGRAMS if not shutil.which(program)]
    return programs if AUTHORITY.exists() else [*programs, str(AUTHORITY)]


class Polkit:
    """The authority; `admins` are the users whose password it asks for. `told`: its rule tells the daemon what for."""

    def __init__(self, directory, admins=("alice", "bob"), told=True):
        shutil.rmtree(RULES, ignore_errors=True)
        RULES.mkdir(mode=0o755)
        users = ", ".join(f'"unix-user:{name}"' for name in admins)
        self.write_rule("45-lab.rules", f"polkit.addAdminRule(function() {{ return [{users}]; }});\n")
        if told:
            rule = (EXAMPLES / "40-countersign.rules").read_text()
            assert "/usr/bin/countersign" in rule
            self.write_rule("40-countersign.rules", rule.replace("/usr/bin/countersign", str(paths.COMMAND)))
        BUS.parent.mkdir(exist_ok=True)
        BUS.unlink(missing_ok=True)
        self.bus = Process("dbus-daemon", ["dbus-daemon", "--system", "--nofork", "--nopidfile"], directory / "bus.log")
        wait_until(BUS.exists, 10, f"the system bus; it said:\n{self.bus.log()}")
        self.authority = Process("polkitd", [AUTHORITY], directory / "polkitd.log")
        self.authority.wait_for("Acquired the name", 10)

    def write_rule(self, name, text):
        file = RULES / name
        file.write_text(text)
        file.chmod(0o644)


class Asker:
    """A shell of the user's, and on another terminal the agent that asks for passwords on its behalf."""

    def __init__(self, user="demo"):
        self.shell = on_terminal_of(user, "bash", "--norc", "--noprofile", timeout=15)
        self.run("PS1=; stty -echo; echo pid=$$=")
        self.shell.expect(r"pid=(\d+)=")
        self.pid = int(self.shell.child.match.group(1))
        self.agent = on_terminal_of(user, "pkttyagent", "--notify-fd", "1", "--process", self.pid, timeout=15)
        # It closes that descriptor once it is registered, and speaks on the terminal itself from then on.

    def run(self, line):
        """Types a command."""
        self.shell.send(line)

    def pkexec(self, *words):
        """What it prints comes between marks, and its status behind them."""
        self.run(f"pkexec --disable-internal-agent {' '.join(words)}; echo status=$?=")

    def status(self, timeout=15):
        """How the command ended."""
        self.shell.expect(r"status=(\d+)=", timeout=timeout)
        return int(self.shell.child.match.group(1))

    def choose(self, number, password):
        """Chooses an identity, and types the password that is asked for."""
        self.agent.expect(r"Choose identity[^\r\n]*: ?$")
        self.agent.send(str(number))
        self.agent.answer_password(password)
