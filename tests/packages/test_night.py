"""Three in the morning: no daemon, a policy that cannot be read, one console. Root and the break-glass account get in, nobody else."""

import time

import pexpect
import pytest
from setting import NO_OTHER, PASSWORDS, ROOT_PASSWORD

from lab.process import wait_until
from lab.terminal import ACKNOWLEDGE, CODE, PASSWORD

UNITS = ("countersignd.service", "countersignd-pam.socket", "countersignd-self.socket")
POLICY = "/etc/countersign/countersign.toml"
# Jobs that have to run whatever happens to us: root's and a person's.
TICKS = {"root": "/root/ticks", "alice": "/home/alice/ticks"}


@pytest.fixture(scope="module")
def night(protected):
    for user, file in TICKS.items():
        protected.host.run("crontab", "-u", user, "-", stdin=f"* * * * * date +\\%s >>{file}\n")
    protected.give_key("alice")
    protected.began = time.time()
    return protected


def masked(host):
    host.run("systemctl", "mask", "--now", *UNITS)


def masked_alone(host):
    """The sockets go on listening for a service that cannot be started."""
    host.run("systemctl", "mask", "--now", UNITS[0])


def unreadable(host):
    policy = host.read(POLICY)
    host.write(POLICY, policy + "\nno_such_key = = 1\n")
    host.run("systemctl", "restart", "countersignd.service")


def masked_and_unreadable(host):
    unreadable(host)
    masked(host)


def mend(host, policy):
    host.write(POLICY, policy)
    host.run("systemctl", "unmask", *UNITS)
    host.run("systemctl", "start", *UNITS[1:])
    host.run("systemctl", "restart", UNITS[0])
    wait_until(lambda: host.run("countersign", "status", check=False).returncode == 0, 20, "the host is connected again")


@pytest.fixture(params=[masked, masked_alone, unreadable, masked_and_unreadable], ids=lambda fault: fault.__name__)
def fault(request, night):
    host = night.host
    policy = host.read(POLICY)
    night.phone.skip()
    night.inside = night.ssh("alice")
    night.phone.yes()
    night.inside.expect(r"\$ $")
    request.param(host)
    yield request.param.__name__
    mend(host, policy)


def refused(terminal, seconds=20):
    """Ends without a login, whatever is typed into it."""
    while (seen := terminal.expect(r"\$ $", CODE, ACKNOWLEDGE, PASSWORD, pexpect.EOF, timeout=seconds)) in (1, 2):
        terminal.send("")
    assert seen != 0, f"somebody is in:\n{terminal.text}"
    terminal.kill()


def test_who_gets_in(night, fault):
    host = night.host
    # The console is root's, by its password alone.
    console = host.console_login("root")
    console.answer_password(ROOT_PASSWORD)
    console.expect("# $")
    console.send("id -un; exit")
    console.expect("root\r\n")

    # The break-glass account by ssh, and to root by sudo.
    rescue = night.ssh("rescue")
    rescue.answer_password(PASSWORDS["rescue"])
    rescue.expect(r"\$ $")
    rescue.send("sudo id -un")
    rescue.answer_password(PASSWORDS["rescue"])
    rescue.expect("root\r\n")

    # Nobody else: neither by password nor by key, and who is in gets no further.
    by_password = night.ssh("alice", options=("-o", "PubkeyAuthentication=no", *NO_OTHER))
    by_password.answer_password(PASSWORDS["alice"])
    refused(by_password)
    refused(night.ssh("alice", options=NO_OTHER))
    night.inside.send("sudo -k; sudo id -un")
    night.inside.answer_password(PASSWORDS["alice"])
    while (seen := night.inside.expect("root\r\n", CODE, ACKNOWLEDGE, PASSWORD, r"\$ $")) in (1, 2):
        night.inside.send("")
    assert seen != 0, night.inside.text
    if seen == 3:
        # sudo looks whether Ctrl-C came, then reads: one between the two goes unheard, and a person presses it again.
        for _ in range(3):
            night.inside.interrupt()
            if night.inside.child.expect([r"\$ $", pexpect.TIMEOUT], timeout=2) == 0:
                break
        else:
            night.inside.expect(r"\$ $")


def test_jobs_ran_all_the_while(night):
    """With the daemon dead, too: for two minutes by the clock."""
    masked(night.host)
    since = time.time()
    try:
        for user, file in TICKS.items():
            enough = lambda: len([tick for tick in ticks(night, file) if tick >= since]) >= 2  # noqa: E731
            wait_until(enough, 130, f"two jobs of {user} have run since the daemon is dead", interval=1)
    finally:
        night.host.run("systemctl", "unmask", *UNITS)
    for user, file in TICKS.items():
        minutes = {int(tick // 60) for tick in ticks(night, file)}
        first, last = int(night.began // 60) + 1, int(time.time() // 60) - 1
        assert minutes >= set(range(first, last + 1)), f"{user}: {minutes}"


def ticks(night, file):
    path = night.host.path(file)
    return [int(line) for line in path.read_text().split()] if path.exists() else []
