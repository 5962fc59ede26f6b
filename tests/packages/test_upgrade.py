"""A newer build over a running one, with people at the door; then all of it is taken off again."""

import pexpect
from setting import ASKED, PASSWORDS, pam_and_ssh

from lab.process import wait_until
from lab.terminal import CODE

PACKAGES = ("countersign", "libpam-countersign")
WAITING = 10


def test_logins_that_wait_end_as_their_phone_says(protected, newer):
    host, phone = protected.host, protected.phone
    devices = host.run("countersign", "devices").stdout
    before = pam_and_ssh(host)
    waiting, before_all = [], len(phone.requests())
    for _ in range(WAITING):
        terminal = protected.ssh("alice", "echo", "in as", "alice")
        terminal.answer_password(PASSWORDS["alice"])
        terminal.expect(CODE)
        waiting.append((terminal, phone.next_request(after=before_all + len(waiting))))
    protected.host.run("apt", "install", "-y", *[f"{newer}/{name}_newer.deb" for name in PACKAGES], timeout=120)
    wait_until(lambda: host.run("countersign", "status", check=False).returncode == 0, 20, "the host is connected")
    half = WAITING // 2
    for terminal, request in waiting[:half]:
        terminal.send(phone.approve(request))
        assert terminal.finish() == 0 and "in as alice" in terminal.text
    for terminal, request in waiting[half:]:
        phone.decide(request, "deny")
        terminal.send("")
        terminal.expect("Denied on the phone|denied", pexpect.EOF, timeout=20)
        assert "in as alice" not in terminal.text
        terminal.kill()

    assert "+newer" in host.run("dpkg-query", "-W", "countersign").stdout
    assert host.run("countersign", "devices").stdout == devices
    assert pam_and_ssh(host) == before


def test_the_newer_daemon_runs_and_asks(protected):
    host = protected.host
    host.run("countersign", "unblock", "--all")
    # The older one leaves within seconds of the last login, and systemd starts the newer one a second later.
    running = "readlink /proc/$(systemctl show -p MainPID --value countersignd)/exe | grep -v deleted"
    wait_until(lambda: host.run("sh", "-c", running, check=False).returncode == 0, 30, "the newer daemon runs")
    protected.phone.skip()
    terminal = protected.ssh("alice", "echo", "in as", "alice")
    terminal.answer_password(PASSWORDS["alice"])
    terminal.answer_code(protected.phone.yes())
    assert terminal.finish() == 0 and "in as alice" in terminal.text


def test_all_is_well(protected):
    protected.host.assert_well(*ASKED)
