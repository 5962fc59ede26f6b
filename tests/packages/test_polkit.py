"""polkit's helper as systemd starts it since polkit 127, which no Debian has yet: its sandbox around the PAM calls that it makes."""

import json

import pytest

from lab.polkit import CONNECT
from lab.process import wait_until
from lab.terminal import PASSWORD

ALICE = "alice-password"
SOCKET = "/run/polkit/agent-helper.socket"
SOCKET_UNIT = f"[Socket]\nAccept=yes\nRemoveOnStop=yes\nListenStream={SOCKET}\n"
# As 127 has it, in our words: no network, no devices but these, nothing but Unix sockets, no locked memory. Later ones let the
# helper use more devices, for keys that are plugged in, and forbid nothing more. pamtester stands in for the program.
HELPER_UNIT = """[Service]
Type=oneshot
ExecStart=/usr/bin/pamtester polkit-1 alice authenticate
StandardInput=socket
StandardOutput=socket
StandardError=socket
DevicePolicy=strict
DeviceAllow=/dev/null rw
LimitMEMLOCK=0
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
"""


@pytest.fixture(scope="module")
def host(machine):
    """Protected; its server is away, so that a recovery code has to do."""
    host = machine("host")
    host.shell("apt install -y /debs/countersign_*.deb /debs/libpam-countersign_*.deb")
    for user in ("alice", "bob"):
        host.run("useradd", "--create-home", "--shell", "/bin/bash", user)
    host.run("chpasswd", stdin=f"alice:{ALICE}\n")
    host.write("/etc/countersign/countersign.toml", 'server = "http://127.0.0.1:1"\n[default]\noffline = ["recovery"]\n')
    host.run("systemctl", "restart", "countersignd")
    host.write("/etc/systemd/system/lab-helper.socket", SOCKET_UNIT)
    host.write("/etc/systemd/system/lab-helper@.service", HELPER_UNIT)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "lab-helper.socket")
    host.run("countersign", "enable", "polkit-1", "--yes", "--no-test")
    yield host
    host.run("countersign", "rollback")
    assert not host.path("/etc/pam.d/polkit-1").exists()


def prompted(host):
    """bob's agent, where alice's password was right and her code is asked for."""
    agent = host.terminal("/usr/bin/python3", "-c", CONNECT, SOCKET, user="bob")
    agent.expect(PASSWORD)
    agent.send(ALICE)
    agent.expect(r"Recovery code[^\r\n]*: ?$")
    return agent


def said(host, what):
    """The lines of the daemon's that say how such a login ended."""
    lines = host.journal("-t", "countersignd").splitlines()
    return [line for line in lines if f": {what} login=" in line and "service=polkit-1" in line]


def test_the_module_reaches_the_daemon_out_of_the_sandbox(host):
    code = json.loads(host.run("countersign", "codes", "alice", "--recovery", "--json").stdout)["codes"][0]
    agent = prompted(host)
    agent.send(code)
    agent.expect("successfully authenticated")
    (line,) = said(host, "granted")
    # Whose agent it was is the kernel's word, through systemd's socket.
    assert "user=alice" in line and "requester=bob" in line, line


def test_an_agent_that_goes_takes_the_question_with_it(host):
    agent = prompted(host)
    agent.kill()
    (line,) = wait_until(lambda: said(host, "withdrawn"), 10, "the daemon hears of it")
    assert "requester=bob" in line, line
    units = lambda: host.run("systemctl", "list-units", "--plain", "--no-legend", "--state=activating,active", "lab-helper@*").stdout
    wait_until(lambda: not units().strip(), 10, "the helper has ended")
