"""A system bus of the private host's own: dbus-daemon as Debian configures it, polkitd, and our service, started by the bus."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from . import paths
from .process import Process, wait_until

try:
    from jeepney import DBusAddress, HeaderFields, MessageFlag, MessageType, new_method_call, new_signal
    from jeepney.io.blocking import open_dbus_connection
except ImportError:  # said by missing()
    DBusAddress = None

NAME = "org.countersign.Countersign1"
PATH = "/org/countersign/Countersign1"
ERROR = f"{NAME}.Error"
POLKITD = Path("/usr/lib/polkit-1/polkitd")
SOCKET = Path("/run/dbus/system_bus_socket")
ACTIONS = Path("/usr/share/polkit-1/actions")
RULES = Path("/etc/polkit-1/rules.d/40-lab.rules")
OURS = paths.REPOSITORY / "polkit"
# polkitd reads changed rules by itself, and says so nowhere that could be waited for.
RULES_READ = 10


def missing():
    """What is not there."""
    programs = [program for program in ("dbus-daemon", "busctl", "pkttyagent") if not shutil.which(program)]
    programs += [] if POLKITD.exists() else ["polkitd"]
    return programs + ([] if DBusAddress else ["python3-jeepney"])


class SystemBus:
    """The bus, polkitd, and the place of our service on it. `idle`: so many seconds unused, and the service leaves. `pending`: so
    many bytes may wait for a program that does not read."""

    def __init__(self, directory, idle=60, pending=None):
        self.directory = Path(directory)
        self._pending = pending
        self.directory.mkdir(parents=True, exist_ok=True)
        services = self.directory / "services"
        services.mkdir(exist_ok=True)
        self.pid_file = self.directory / "pid"
        self.log = self.directory / "service.log"
        # The installed file but for the program's place; and what it says goes where a test can read it.
        text = (OURS / f"{NAME}.service").read_text()
        assert "Exec=/usr/bin/countersign dbus-service" in text
        start = self.directory / "start"
        start.write_text(f"#!/bin/sh\necho $$ >{self.pid_file}\nexec {paths.COMMAND} dbus-service --idle {idle} >>{self.log} 2>&1\n")
        start.chmod(0o755)
        text = re.sub(r"^Exec=.*$", f"Exec={start}", text, flags=re.MULTILINE)
        (services / f"{NAME}.service").write_text(re.sub(r"^SystemdService=.*\n", "", text, flags=re.MULTILINE))
        self._install_actions()
        self.allow({})
        config = self.directory / "system.conf"
        config.write_text(self._config(services))
        SOCKET.parent.mkdir(parents=True, exist_ok=True)
        SOCKET.unlink(missing_ok=True)
        self.bus = Process("dbus-daemon", ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"], self.directory / "bus.log")
        wait_until(SOCKET.exists, 10, f"the bus; it said:\n{self.bus.log()}")
        self.polkit = Process("polkitd", [POLKITD, "--no-debug"], self.directory / "polkit.log")
        self.root = Caller("root")
        wait_until(lambda: self.root.owner("org.freedesktop.PolicyKit1"), 10, f"polkitd; it said:\n{self.polkit.log()}")

    def _config(self, services):
        """Debian's own, with another place for services and no helper that only its own user may run."""
        text = Path("/usr/share/dbus-1/system.conf").read_text()
        for part in ("user", "servicehelper", "pidfile"):
            text = re.sub(rf"<{part}>.*?</{part}>", "", text)
        for part in ("fork", "syslog"):
            text = text.replace(f"<{part}/>", "")
        text = text.replace("<standard_system_servicedirs/>", f"<servicedir>{services}</servicedir>")
        text = re.sub(r"<include[^>]*>.*?</include(dir)?>", "", text, flags=re.DOTALL)
        if self._pending:
            text = text.replace("</busconfig>", f'<limit name="max_outgoing_bytes">{self._pending}</limit></busconfig>')
        parts = ["/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf", f"{OURS}/{NAME}.conf"]
        return text.replace("</busconfig>", "".join(f"<include>{part}</include>\n" for part in parts) + "</busconfig>")

    def _install_actions(self):
        """Ours among the machine's, in this mount namespace alone."""
        ours = OURS / f"{NAME}.policy"
        if not (ACTIONS / ours.name).exists():
            all_of_them = self.directory / "actions"
            shutil.copytree(ACTIONS, all_of_them)
            subprocess.run(["mount", "--bind", all_of_them, ACTIONS], check=True)
        shutil.copy(ours, ACTIONS / ours.name)

    def allow(self, results):
        """Rules of the administrator's: {("bob", "view-all"): "YES"}. They hold from now on, not for polkitd that runs already."""
        RULES.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f'if (action.id == "{NAME}.{action}" && subject.user == "{user}") return polkit.Result.{result};\n'
            for (user, action), result in results.items()
        ]
        RULES.write_text(f"polkit.addRule(function(action, subject) {{\n{''.join(lines)}}});\n")
        RULES.chmod(0o644)

    def restart_polkit(self):
        """polkitd reads its rules."""
        self.polkit.stop()
        self.polkit = Process("polkitd", [POLKITD, "--no-debug"], self.directory / "polkit.log")
        wait_until(lambda: self.root.owner("org.freedesktop.PolicyKit1"), 10, f"polkitd; it said:\n{self.polkit.log()}")

    def caller(self, user):
        """A program of that user's on the bus."""
        return Caller(user)

    def service(self):
        """The process of our service; None where there is none."""
        if not self.pid_file.exists():
            return None
        pid = int(self.pid_file.read_text())
        return pid if Path(f"/proc/{pid}/exe").exists() else None


class Refused(Exception):
    """An error reply."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Caller:
    """One program on the bus: one connection, whose user the kernel knows."""

    def __init__(self, user):
        self.user = user
        self.signals = []
        with acting_as(user):
            self.connection = open_dbus_connection(f"unix:path={SOCKET}")

    def send(self, member, signature=None, *arguments, interface=NAME, interactive=False):
        """Calls without waiting; returns the call's number."""
        return self._send(DBusAddress(PATH, NAME, interface), member, signature, arguments, interactive)

    def _send(self, address, member, signature, arguments, interactive=False):
        message = new_method_call(address, member, signature, arguments)
        if interactive:
            message.header.flags |= MessageFlag.allow_interactive_authorization
        serial = next(self.connection.outgoing_serial)
        self.connection.send(message, serial=serial)
        return serial

    def answer(self, serial, seconds=20):
        """The answer to a call; signals that come before are kept."""
        while True:
            try:
                message = self.connection.receive(timeout=seconds)
            except TimeoutError:
                raise AssertionError(f"{self.user} got no answer in {seconds} s") from None
            if message.header.fields.get(HeaderFields.reply_serial) == serial:
                break
            self._keep(message)
        if message.header.message_type == MessageType.error:
            raise Refused(message.header.fields[HeaderFields.error_name], *message.body)
        return plain(message.body[0]) if len(message.body) == 1 else tuple(plain(part) for part in message.body)

    def call(self, member, signature=None, *arguments, seconds=20, **options):
        """The answer of a method."""
        return self.answer(self.send(member, signature, *arguments, **options), seconds)

    def refused(self, member, signature=None, *arguments, **options):
        """The error of a method that must not be carried out."""
        try:
            answer = self.call(member, signature, *arguments, **options)
        except Refused as error:
            return error
        raise AssertionError(f"{self.user} got {answer} from {member}{arguments}")

    def get(self, name):
        return self.call("Get", "ss", NAME, name, interface="org.freedesktop.DBus.Properties")

    def owner(self, name):
        """Who has a name on the bus; None where nobody has."""
        with contextlib.suppress(Refused):
            return self.ask_bus("GetNameOwner", "s", name)

    def ask_bus(self, member, signature, *arguments):
        """The bus's own answer."""
        bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
        return self.answer(self._send(bus, member, signature, arguments))

    def unique_name(self):
        return self.connection.unique_name

    def throw(self, to, number, size):
        """Sends so many signals of that size to one program, whether it wants them or not."""
        for _ in range(number):
            message = new_signal(DBusAddress("/lab", interface="org.example.Lab"), "Junk", "s", ("x" * size,))
            message.header.fields[HeaderFields.destination] = to
            self.connection.send(message)

    def signal(self, member, seconds=10, where=lambda body: True):
        """The first signal of that name that has come and not been taken; waits for it."""
        while True:
            for at, (name, body) in enumerate(self.signals):
                if name == member and where(body):
                    del self.signals[at]
                    return body
            try:
                self._keep(self.connection.receive(timeout=seconds))
            except TimeoutError:
                raise AssertionError(f"{self.user} heard no {member}, but {self.signals}") from None

    def heard(self):
        """All signals that have come up to now: whatever was sent before this is here before its answer."""
        self.owner("org.freedesktop.DBus")
        with contextlib.suppress(TimeoutError):
            while True:
                self._keep(self.connection.receive(timeout=0.05))
        return self.signals

    def _keep(self, message):
        if message.header.message_type == MessageType.signal and message.header.fields[HeaderFields.path] == PATH:
            body = [plain(part) for part in message.body]
            self.signals.append((message.header.fields[HeaderFields.member], body[0] if len(body) == 1 else body))

    def leave(self):
        self.connection.close()


def plain(value):
    """A value without its D-Bus types; tuples are variants here, pairs of a signature and a value."""
    if isinstance(value, tuple):
        return plain(value[1])
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


@contextlib.contextmanager
def acting_as(user):
    """Connects as that user: the kernel notes who was in effect when the socket was connected."""
    entry = pwd.getpwnam(user)
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def uid(user):
    return pwd.getpwnam(user).pw_uid
