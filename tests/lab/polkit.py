"""polkit on the private host: a system bus, the authority, and people with an authentication agent on a terminal."""

import shutil
import socket
import subprocess
from pathlib import Path

from . import accounts, paths
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

    def asker(self, user="demo"):
        """A user with an agent of their own."""
        return Asker(self.authority, user)


class Asker:
    """A shell of the user's, and on another terminal the agent that asks for passwords on its behalf."""

    def __init__(self, authority, user="demo"):
        self.user = user
        self.shell = on_terminal_of(user, "bash", "--norc", "--noprofile", timeout=15)
        self.run("PS1=; stty -echo; echo pid=$$=")
        self.shell.expect(r"pid=(\d+)=")
        self.pid = int(self.shell.child.match.group(1))
        self.agent = on_terminal_of(user, "pkttyagent", "--process", self.pid, timeout=15)
        authority.wait_for(f"Registered Authentication Agent for unix-process:{self.pid}:", 10)

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

    def end_helper(self):
        """Ends the agent's helper, as an agent does whose dialog is closed."""
        found = subprocess.run(["pgrep", "-P", str(self.agent.child.pid)], capture_output=True, text=True).stdout.split()
        assert len(found) == 1, found
        subprocess.run(accounts.as_user_argv(self.user, "kill", "-TERM", found[0]), check=True)

    def choose(self, number, password):
        """Chooses an identity, and types the password that is asked for."""
        self.agent.expect(r"Choose identity[^\r\n]*: ?$")
        self.agent.send(str(number))
        self.agent.answer_password(password)


class SocketHelper:
    """A helper as systemd starts it since polkit 127: root's own, its standard input a connection that it has accepted.

    pamtester stands in for the program. It speaks plain text in place of polkit's lines, and makes the same PAM calls.
    """

    def __init__(self, directory, account="alice", agent="demo"):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "agent-helper.socket"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o666)
            for above in path.parents:
                above.chmod(above.stat().st_mode | 0o111)
            listener.listen()
            self.agent = on_terminal_of(agent, "/usr/bin/python3", "-c", CONNECT, path, timeout=15)
            listener.settimeout(10)
            connection, _ = listener.accept()
        connection.setblocking(True)
        with connection:
            argv = ["pamtester", "polkit-1", account, "authenticate"]
            self.popen = subprocess.Popen(argv, stdin=connection, stdout=connection, stderr=connection)


# Hands on what is typed to the helper, and what that says to the terminal.
CONNECT = """
import os, select, socket, sys
with socket.socket(socket.AF_UNIX) as helper:
    helper.connect(sys.argv[1])
    while True:
        for ready in select.select([0, helper], [], [])[0]:
            data = os.read(0 if ready == 0 else helper.fileno(), 4096)
            if not data:
                sys.exit()
            os.write(helper.fileno() if ready == 0 else 1, data)
"""
