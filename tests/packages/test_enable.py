"""countersign enable under systemd: its timer, and its unit at boot. The README's test has a confirmation."""

import pytest

from lab.process import wait_until

TIMER = "countersign-rollback.timer"
SERVICE = "countersign-rollback.service"
RECORD = "/etc/countersign/pending/record.json"
SHORT = f"/etc/systemd/system/{TIMER}.d/short.conf"


@pytest.fixture(scope="module")
def host(machine):
    """Installed, with a policy and without a server: what is taken back needs neither."""
    host = machine("host")
    host.shell("apt install -y /debs/countersign_*.deb /debs/libpam-countersign_*.deb")
    host.write("/etc/countersign/countersign.toml", 'server = "http://127.0.0.1:1"\n')
    host.run("systemctl", "restart", "countersignd")
    return host


def pam(host):
    return {path.name: path.read_bytes() for path in sorted((host.root / "etc/pam.d").iterdir())}


def is_waiting(host):
    return host.path(RECORD).exists()


def enable(host):
    host.run("countersign", "enable", "sshd", "sudo", "--yes", "--no-test")
    assert b"pam_countersign.so" in pam(host)["sshd"] and is_waiting(host)
    assert host.run("systemctl", "is-active", TIMER).stdout.strip() == "active"


def test_the_timer_takes_back_what_nobody_confirms_though_the_daemon_is_dead(host):
    before = pam(host)
    assert host.run("systemctl", "show", "-p", "TimersMonotonic", TIMER).stdout.count("OnActiveUSec=2min") == 1
    host.write(SHORT, "[Timer]\nOnActiveSec=\nOnActiveSec=4s\n")
    host.run("systemctl", "daemon-reload")
    enable(host)
    host.run("systemctl", "kill", "-s", "KILL", "countersignd")
    host.run("systemctl", "mask", "--now", "countersignd")
    host.write("/etc/countersign/countersign.toml", "no policy\n")
    wait_until(lambda: not is_waiting(host), 30, "it is taken back")
    assert pam(host) == before
    wait_until(lambda: host.run("systemctl", "is-active", TIMER, check=False).returncode != 0, 10, "the timer is stopped")
    assert "was taken back: nobody confirmed it in time" in host.journal("-t", "countersign")
    assert "was taken back" in host.run("countersign", "status", check=False).stderr
    host.write("/etc/countersign/countersign.toml", 'server = "http://127.0.0.1:1"\n')
    host.run("systemctl", "unmask", "countersignd")
    host.run("systemctl", "start", "countersignd")


@pytest.mark.parametrize("how", ["reboot", "power_cut"])
def test_a_boot_takes_it_back_before_anybody_can_log_in(host, how):
    before = pam(host)
    host.path(SHORT).unlink(missing_ok=True)
    host.run("systemctl", "daemon-reload")
    enable(host)
    host.run("sync")
    if how == "reboot":
        host.reboot()
    else:
        host.power_cut()
        host.boot()
    assert not is_waiting(host)
    assert pam(host) == before

    def when(unit, what):
        return int(host.run("systemctl", "show", "--value", "-p", f"{what}TimestampMonotonic", unit).stdout)

    taken_back = when(SERVICE, "InactiveEnter")
    assert 0 < taken_back
    for unit in ("systemd-user-sessions.service", "ssh.service"):
        assert taken_back <= when(unit, "ActiveEnter"), unit
    assert "countersign" not in host.run("systemctl", "--failed", "--no-legend", "--plain").stdout
