"""The D-Bus service and polkit's dialogs on a booted machine: systemd, the system bus and polkitd as each Debian has them."""

import json
import re

import pytest
from device import Device
from shell import Shell

from lab.process import wait_until

NAME = "org.countersign.Countersign1"
OBJECT = (NAME, "/org/countersign/Countersign1", NAME)
UNIT = "countersign-dbus.service"
DAEMON = ("countersignd.service", "countersignd-pam.socket", "countersignd-self.socket")
ALICE = "alice-password"
ORIGIN = "http://127.0.0.1:8443"
EXEC = "org.freedesktop.policykit.exec"
# Not worse than this, by systemd-analyze: 0 is a service that may do nothing, 10 one that may do all.
EXPOSURE = 2.0


@pytest.fixture(scope="module")
def host(machine):
    """Server, host and the people's devices on one machine. alice is an administrator, bob is none."""
    host = machine("host")
    host.shell("dpkg --install /debs/*.deb")
    for user in ("alice", "bob"):
        host.run("useradd", "--create-home", "--shell", "/bin/bash", user)
    host.run("gpasswd", "--add", "alice", "sudo")
    host.run("chpasswd", stdin=f"alice:{ALICE}\n")
    host.run("systemctl", "start", "countersign-server")
    token = host.run("countersign-server", "token").stdout.split()[-1]
    host.write("/etc/countersign/countersign.toml", f'server = "{ORIGIN}"\n')
    host.run("systemctl", "restart", "countersignd")
    join = ("countersign", "join", "--token", token)
    wait_until(lambda: host.run(*join, check=False).returncode == 0, 15, "the host has joined")
    return host


@pytest.fixture(scope="module")
def phone(host, tmp_path_factory):
    phone = Device(tmp_path_factory.mktemp("phone") / "alice", host, "alice")
    shell = Shell(host.terminal("bash", "--norc", "--noprofile"))
    paper = [(r"\[Y/n\]: $", "n"), (r"\[y/N\] $", "n")]
    shell.type("countersign pair alice", [(re.compile(r"(http://\S+#\S+)"), phone.pairs), *paper])
    yield phone
    phone.stop()


def call(host, user, method, *arguments, verb="call"):
    return host.run("busctl", verb, *OBJECT, method, *arguments, user=user, check=False)


def shows(host, name):
    return host.run("systemctl", "show", "-p", name, "--value", UNIT).stdout.strip()


def test_a_call_starts_it_in_its_sandbox(host):
    assert shows(host, "ActiveState") == "inactive"
    done = call(host, "bob", "Connected", verb="get-property")
    assert (done.returncode, done.stdout.strip()) == (0, "b true"), done.stderr
    assert shows(host, "ActiveState") == "active"
    status = host.run("cat", f"/proc/{shows(host, 'MainPID')}/status").stdout
    fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert fields["Uid"].split()[0] == "0"
    assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [0, 0, 0]
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert int(shows(host, "MemoryMax")) == 256 << 20
    exposure = host.run("systemd-analyze", "security", "--no-pager", UNIT).stdout.splitlines()[-1]
    print(exposure)
    assert float(re.search(r"([\d.]+) \w+", exposure)[1]) <= EXPOSURE, exposure


def test_polkit_lets_root_do_what_a_user_may_not(host, phone):
    """busctl lets polkit ask for a password; there is no agent that could."""
    for arguments in (("ListDevices", "s", "*"), ("ListDevices", "s", "alice"), ("NewRecoveryCodes", "sy", "bob", "3")):
        refused = call(host, "bob", *arguments)
        assert refused.returncode != 0 and "needs somebody to authenticate" in refused.stderr, refused
        assert "pkttyagent" in refused.stderr
        assert call(host, "root", *arguments).returncode == 0, arguments
    assert call(host, "bob", "ListDevices", "s", "").stdout.strip() == "aa{sv} 0"
    assert '"laptop"' in call(host, "alice", "ListDevices", "s", "").stdout
    # The policy of the bus, not of polkit: nobody else takes the service's place, and root's socket is not on it.
    taken = host.run("busctl", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su", f"{NAME}", "0", user="bob", check=False)
    assert taken.returncode != 0


def test_it_leaves_when_nobody_uses_it_and_comes_back(host):
    host.write(f"/etc/systemd/system/{UNIT}.d/idle.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/countersign dbus-service --idle 1\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", UNIT)
    for _ in range(2):
        assert call(host, "bob", "Waiting", verb="get-property").stdout.strip() == "u 0"
        wait_until(lambda: shows(host, "ActiveState") == "inactive", 10, "it leaves")
        assert (shows(host, "Result"), shows(host, "ExecMainStatus")) == ("success", "0")


class Asker:
    """bob's shell, and the agent on another terminal that asks for an administrator's password there."""

    def __init__(self, host):
        self.shell = host.terminal("bash", "--norc", "--noprofile", user="bob")
        self.shell.send("PS1=; stty -echo; echo pid=$$=")
        self.shell.expect(r"pid=(\d+)=")
        pid = self.shell.child.match.group(1)
        watch = f"exec 3> >(cat; echo registered); exec pkttyagent --process {pid} --notify-fd 3"
        self.agent = host.terminal("bash", "-c", watch, user="bob")
        self.agent.expect("registered")

    def pkexec(self, *words):
        self.shell.send(f"pkexec --disable-internal-agent {' '.join(words)}; echo status=$?=")
        self.agent.answer_password(ALICE)

    def status(self):
        self.shell.expect(r"status=(\d+)=")
        return int(self.shell.child.match.group(1))


@pytest.fixture(scope="module")
def asker(host, phone):
    host.shell("cp /usr/share/doc/countersign/examples/40-countersign.rules /etc/polkit-1/rules.d/")
    host.run("systemctl", "restart", "polkit")
    host.run("countersign", "enable", "polkit-1", "--yes", "--no-test")
    yield Asker(host)
    host.run("countersign", "rollback")
    assert not host.path("/etc/pam.d/polkit-1").exists()


def rings(phone, asker, number, answer):
    """A command that the phone is asked about; it answers so, and its code is typed. Returns the request."""
    before = len(phone.requests())
    asker.pkexec("sh", "-c", f"'echo ran-{number}-$(id -u)'")
    request = phone.next_request(after=before, seconds=20)
    assert (request["user"], request["requester"], request["kind"]) == ("alice", "bob", "action")
    # Once: newer messages of pkexec's have the arguments in them.
    assert request["detail"].count(f"echo ran-{number}-") == 1, request
    assert request["detail"].endswith("(said by polkit's rule)")
    asker.agent.answer_code(phone.decide(request, answer).get("code") or "")
    return request


def test_pkexec_rings_the_phone_with_what_is_to_be_done(host, phone, asker):
    assert rings(phone, asker, 0, "approve")["action"] == EXEC
    asker.shell.expect("ran-0-0\r\n")
    assert asker.status() == 0


def test_at_night_pkexec_says_what_to_do(host, asker):
    """The server is away: a code on paper opens. Then the daemon is: what is left is said, and the break-glass account."""
    code = json.loads(host.run("countersign", "codes", "alice", "--recovery", "--json").stdout)["codes"][0]
    host.run("systemctl", "stop", "countersign-server")
    asker.pkexec("true")
    asker.agent.expect(r"The approval server cannot be reached\. Recovery code[^\r\n]*: ?$")
    asker.agent.send(code)
    asker.agent.expect("AUTHENTICATION COMPLETE")
    assert asker.status() == 0
    host.run("systemctl", "stop", *DAEMON)
    asker.pkexec("true")
    asker.agent.expect("approval service on this machine is not running")
    asker.agent.expect(r"systemctl status countersignd.*AUTHENTICATION FAILED", timeout=30)
    assert asker.status() == 127
    # The break-glass account, which is an administrator too, comes by its password alone.
    host.run("useradd", "--groups", "sudo,countersign-breakglass", "rescue")
    host.run("chpasswd", stdin="rescue:rescue-password\n")
    asker.shell.send("pkexec --disable-internal-agent true; echo status=$?=")
    asker.agent.expect(r"(\d+)\.  rescue\r\n[^$]*Choose identity[^\r\n]*: ?$")
    asker.agent.send(asker.agent.child.match.group(1))
    asker.agent.answer_password("rescue-password")
    asker.agent.expect("AUTHENTICATION COMPLETE")
    assert asker.status() == 0
    host.run("gpasswd", "--delete", "rescue", "sudo")
    host.run("systemctl", "start", *DAEMON, "countersign-server")
    wait_until(lambda: host.run("countersign", "status", check=False).returncode == 0, 20, "the host is connected again")


def test_what_the_phone_denies_pkexec_does_not_run(host, phone, asker):
    request = rings(phone, asker, 1, "deny")
    # The daemon is told now what it could not be told at night: that dialog may be open still.
    assert "action" not in request
    assert request["detail"].startswith("one of 2 open questions: ") and "/usr/bin/true" in request["detail"], request
    asker.agent.expect("Denied on the phone")
    asker.agent.expect("AUTHENTICATION FAILED")
    assert asker.status() == 127
    assert "ran-1" not in asker.shell.text
    print(asker.agent.text)
