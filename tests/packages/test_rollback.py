"""Turned on over ssh: from a login that is lost it is taken back, and kept only by a new one. test_enable.py has the reboots."""

import os
import signal
import time

import pytest
from setting import ASKED, PASSWORDS, pam_and_ssh

from lab.process import wait_until
from lab.terminal import CODE

# What `countersign enable` gives people to come in once more and say that it works.
TWO_MINUTES = 120
RECORD = "/etc/countersign/pending/record.json"


@pytest.fixture(scope="module")
def ready(site):
    site.follow_readme(upto="countersign enable")
    site.before = pam_and_ssh(site.host)
    return site


def turn_on(site, *services):
    """As somebody does who is logged in over ssh; returns their shell."""
    site.phone.skip()
    shell = site.admin()
    shell.type(f"countersign enable {' '.join(services)}", answers=site.answers_to_commands(site.phone))
    assert pam_and_ssh(site.host) != site.before
    return shell


def logs_in_with_the_password_alone(site):
    terminal = site.ssh("alice", "echo", "in as", "alice")
    terminal.answer_password(PASSWORDS["alice"])
    assert terminal.finish() == 0 and "in as alice" in terminal.text


def is_as_before(site):
    return pam_and_ssh(site.host) == site.before


def test_a_lost_session_takes_it_back_after_two_minutes(ready):
    host = ready.host
    shell = turn_on(ready, "sshd", "sudo")
    began = time.monotonic()
    # It holds: nobody comes in without the phone now.
    terminal = ready.ssh("alice")
    terminal.answer_password(PASSWORDS["alice"])
    terminal.expect(CODE)
    terminal.kill()
    os.kill(shell.terminal.child.pid, signal.SIGKILL)

    wait_until(lambda: is_as_before(ready), TWO_MINUTES + 20, "all of it is taken back", interval=0.5)
    took = time.monotonic() - began
    assert took > TWO_MINUTES - 20, f"after {took:.0f} s"
    print(f"taken back {took:.0f} s after it was written")
    wait_until(lambda: not host.path(RECORD).exists(), 10, "nothing waits to be confirmed")
    logs_in_with_the_password_alone(ready)


def test_only_a_new_login_confirms(ready):
    host = ready.host
    old = turn_on(ready, "sshd", "sudo")
    said = old.type("countersign confirm", check=False)
    assert old.status != 0 and "log in" in said, said

    ready.confirm()
    on = pam_and_ssh(host)
    assert not host.path(RECORD).exists()
    host.run("sync")
    host.power_cut()
    host.boot()
    assert pam_and_ssh(host) == on
    wait_until(lambda: host.run("countersign", "status", check=False).returncode == 0, 20, "the host is connected")
    host.assert_well(*ASKED)


def test_turned_off_it_is_as_before_byte_for_byte(ready):
    shell = ready.root_shell(ready.host)
    shell.type("countersign disable sshd sudo")
    assert is_as_before(ready)
    logs_in_with_the_password_alone(ready)
