"""The packages as they are installed: what they bring, how their services run, that a purge leaves nothing."""

import json
import time

import pytest
from machine import Failed

from lab.process import wait_until

SERVICES = ("countersignd", "countersign-server")
CONFIG = "/etc/countersign/countersign.toml"
ORIGIN = "http://127.0.0.1:8443"
DROP_IN = "/etc/ssh/sshd_config.d/00-countersign.conf"


@pytest.fixture(scope="module")
def host(machine):
    """One machine with all three packages."""
    host = machine("host")
    host.run("useradd", "--create-home", "alice")
    host.before = pam_files(host)
    host.shell("dpkg --install /debs/*.deb")
    host.write("/etc/pam.d/lab", "auth required pam_countersign.so\naccount required pam_permit.so\n")
    return host


def pam_files(host):
    return {path.name: path.read_bytes() for path in sorted((host.root / "etc/pam.d").iterdir())}


def mode(host, path):
    return host.run("stat", "-c", "%U:%G %a", path).stdout.strip()


def shows(host, unit, name):
    return host.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()


def soon(host, *words, what=None):
    wait_until(lambda: host.run(*words, check=False).returncode == 0, 15, what or " ".join(words), interval=0.1)


def test_installing_changes_no_login(host):
    assert {name: text for name, text in pam_files(host).items() if name != "lab"} == host.before


def test_the_sockets_are_there_with_their_owners_and_modes(host):
    assert mode(host, "/run/countersign") == "root:root 755"
    assert mode(host, "/run/countersign/pam.sock") == "root:root 600"
    assert mode(host, "/run/countersign/self.sock") == "root:root 666"


def test_without_a_configuration_nothing_opens(host):
    assert host.run("pamtester", "lab", "alice", "authenticate", check=False, stdin="").returncode != 0


def test_the_server_starts_as_it_is_installed_and_a_host_joins(host):
    host.run("systemctl", "start", "countersign-server")
    token = host.run("countersign-server", "token").stdout.split()[-1]
    host.write(CONFIG, f'server = "{ORIGIN}"\n')
    host.run("systemctl", "restart", "countersignd")
    assert shows(host, "countersignd", "NotifyAccess") == "main"
    soon(host, "countersign", "join", "--token", token)
    soon(host, "countersign", "status")


@pytest.mark.parametrize("service, user", [("countersignd", "countersign"), ("countersign-server", "countersign-server")])
def test_a_service_has_no_rights_that_it_does_not_need(host, service, user):
    pid = shows(host, service, "MainPID")
    assert host.run("stat", "-c", "%U", f"/proc/{pid}").stdout.strip() == user
    if service == "countersignd":
        status = host.run("cat", f"/proc/{pid}/status").stdout
        effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        assert int(effective.split()[1], 16) == 0
    security = host.run("systemd-analyze", "security", "--no-pager", service).stdout.splitlines()[-1]
    print(security)


def test_the_daemons_user_does_not_own_its_policy(host):
    host.run("chown", "countersign", CONFIG)
    host.run("systemctl", "restart", "countersignd")
    said = host.run("countersign", "status", check=False)
    assert said.returncode != 0 and "has to be root's" in said.stdout + said.stderr
    host.run("chown", "root", CONFIG)
    host.run("systemctl", "restart", "countersignd")
    soon(host, "countersign", "status")


def test_callers_are_told_apart_by_their_uid(host):
    host.run("countersign", "status", user="alice")
    host.run("countersign", "devices", "alice", user="alice")
    assert host.run("countersign", "devices", "root", user="alice", check=False).returncode != 0


def told(host, event):
    return f'"event":"{event}"' in host.journal("-t", "countersign-told", "-o", "cat")


def test_the_hook_runs_in_the_units_sandbox(host):
    """The admin guide's program: told of a policy that is not taken, and of a code that let somebody in."""
    host.write("/usr/local/sbin/countersign-told", "#!/bin/sh\nexec logger -t countersign-told -p authpriv.alert\n", 0o755)
    policy = f'hook = ["/usr/local/sbin/countersign-told"]\nserver = "{ORIGIN}"\n'
    host.write(CONFIG, policy)
    host.run("systemctl", "reload", "countersignd")
    host.write(CONFIG, policy + "no_such_key = 1\n")
    with pytest.raises(Failed):
        host.run("systemctl", "reload", "countersignd")
    wait_until(lambda: told(host, "config-refused"), 10, "the hook is told of a policy that was not taken")
    host.write(CONFIG, policy)
    host.run("systemctl", "restart", "countersignd")
    soon(host, "countersign", "status")
    out = host.run("countersign", "codes", "alice", "--once", "10m", "--reason", "a test", "--json").stdout
    code = json.loads(out)["code"]
    host.run("pamtester", "lab", "alice", "authenticate", stdin=f"{code}\n")
    wait_until(lambda: told(host, "offline-factor"), 10, "the hook is told of a code that let somebody in")


def test_a_call_starts_the_daemon_again(host):
    host.run("systemctl", "stop", "countersignd")
    assert host.run("test", "-S", "/run/countersign/pam.sock")
    soon(host, "countersign", "status")


def test_the_daemon_comes_back_after_a_crash(host):
    host.run("systemctl", "kill", "-s", "KILL", "countersignd")
    soon(host, "countersign", "status")


def test_daemon_and_server_answer_their_watchdogs(host):
    """Watched for longer than WatchdogSec, which is made short: one that did not report in would be restarted."""
    for service in SERVICES:
        host.shell(f"mkdir -p /run/systemd/system/{service}.service.d && "
                   f"printf '[Service]\\nWatchdogSec=8\\n' >/run/systemd/system/{service}.service.d/soon.conf")  # fmt: skip
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", *SERVICES)
    soon(host, "countersign", "status")
    before = [(shows(host, service, "NRestarts"), shows(host, service, "MainPID")) for service in SERVICES]
    time.sleep(12)
    assert [(shows(host, service, "NRestarts"), shows(host, service, "MainPID")) for service in SERVICES] == before


def test_the_users_unit_is_there_and_not_enabled(host):
    """Users choose for themselves whether their desktop approves."""
    unit = "countersign-approve.service"
    assert host.run("systemctl", "--global", "is-enabled", unit, check=False).stdout.strip() == "disabled"
    host.shell(f"XDG_RUNTIME_DIR=/run systemd-analyze verify --user --man=no /usr/lib/systemd/user/{unit}")


def test_with_a_domain_the_server_listens_on_port_443_without_being_root(host):
    """An authority that is not there: the server runs all the same, and says so."""
    settings = host.read("/etc/countersign/server.toml")
    settings = settings.replace("#= domain = ", "domain = ", 1)
    lines = [
        'acme_directory = "https://localhost:1/dir"' if line.startswith("#= acme_directory = ") else line
        for line in settings.splitlines()
    ]
    host.write("/etc/countersign/server.toml", "\n".join(lines) + "\n")
    host.run("systemctl", "restart", "countersign-server")
    text = "no certificate for push.example.com: the ACME server cannot be reached"
    wait_until(lambda: text in host.journal("-u", "countersign-server"), 15, "the server says why it has no certificate")
    assert "LISTEN" in host.run("ss", "-ltnH", "sport = :443").stdout
    assert mode(host, "/var/lib/countersign-server/acme") == "countersign-server:countersign-server 700"
    host.run("systemctl", "is-active", "countersign-server")


def test_the_module_does_not_go_while_a_line_needs_it(host):
    """Without the module that line would refuse everybody."""
    said = host.run("dpkg", "--remove", "libpam-countersign", check=False)
    assert said.returncode != 0
    assert "/etc/pam.d/lab:1:auth required pam_countersign.so" in said.stderr
    assert host.run("pamtester", "lab", "alice", "authenticate", check=False, stdin="").returncode != 0
    host.run("rm", "/etc/pam.d/lab")


def test_the_hosts_packages_go_away_and_leave_the_server_its_own(host):
    """Lines taken out by hand left the settings of sshd; the server's key lies beside the host's configuration."""
    host.write(DROP_IN, "# countersign: written by countersign enable sshd, removed by countersign disable sshd.\n"
                        "KbdInteractiveAuthentication yes\n")  # fmt: skip
    servers = {f"/etc/countersign/{name}": name for name in ("server-chain.pem", "server-key.pem", "push-ca.pem")}
    own = [f"/etc/countersign/{name}" for name in ("approvers", "revoked", "server-ca.pem", "countersign.toml.d/ours.toml")]
    for path in (*servers, *own):
        host.write(path, servers.get(path, ""))
    settings = host.read("/etc/countersign/server.toml")
    host.run("usermod", "--gid", "countersign-breakglass", "alice")
    said = host.run("dpkg", "--purge", "libpam-countersign", "countersign").stdout
    host.run("usermod", "--gid", "alice", "alice")
    assert "the group countersign-breakglass stays" in said
    assert not host.path(DROP_IN).exists()
    assert {path: host.read(path) for path in servers} == servers
    assert host.read("/etc/countersign/server.toml") == settings
    left = {path.name for path in (host.root / "etc/countersign").iterdir()}
    assert left == {"server.toml", "server-chain.pem", "server-key.pem", "push-ca.pem"}
    host.run("systemctl", "restart", "countersign-server")
    host.run("rm", *servers)
    # For the last test, which has them all.
    host.shell("dpkg --install /debs/*.deb")


def test_the_packages_go_away_and_leave_nothing(host):
    host.run("gpasswd", "--add", "alice", "countersign-breakglass")
    # What lets apt ask: it would lead nowhere.
    host.run("ln", "-s", "/usr/share/countersign/apt/99countersign", "/etc/apt/apt.conf.d/")
    said = host.run("dpkg", "--purge", "libpam-countersign", "countersign", "countersign-server").stdout
    assert host.run("dpkg-query", "-W", "countersign*", "libpam-countersign*", check=False).stdout.strip() == ""
    assert pam_files(host) == host.before
    # What the tests wrote, the journal's own memory of users, and a group that an administrator has given a member.
    mine = ("/usr/local/sbin/countersign-told", "/run/systemd/system/countersign")
    left = host.run("find", "/", "-xdev", "-name", "*countersign*", "-not", "-path", "/debs*", "-not", "-path", "/proc/*").stdout
    left += host.run("find", "/run", "-name", "*countersign*").stdout
    assert [path for path in left.splitlines() if not path.startswith(mine)] == []
    accounts = host.read("/etc/passwd") + host.read("/etc/group") + host.read("/etc/shadow") + host.read("/etc/gshadow")
    lines = [line for line in accounts.splitlines() if "countersign" in line]
    assert {line.split(":")[0] for line in lines} == {"countersign-breakglass"}
    assert "the group countersign-breakglass has members and stays" in said
