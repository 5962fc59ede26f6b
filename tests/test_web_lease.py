"""A lease that is granted in the web approver."""

import time

from lab.process import wait_until
from lab.terminal import on_terminal_of

PASSWORD = "alice-password"


def choose(phone, card, value):
    """Taps one of the choices of a lease."""
    within = f'[data-testid=card][data-request="{card["key"]}"]'
    phone.do("click", target={"css": f'{within} .lease label:has(input[value="{value}"])'})


def hint(phone):
    return phone.text(id="lease-hint")


def test_one_tap_with_a_lease_is_enough_for_the_next_login(up):
    stack = up(lease="8h")
    phone, sshd = stack.phone("alice"), stack.sshd(AuthenticationMethods="publickey")
    client = stack.client(sshd, "alice")
    running = client.start("alice", "true")
    card = phone.next_request()
    assert "same address with the same key" in hint(phone)
    choose(phone, card, 3600)
    phone.approve(card)
    assert running.wait(20) == 0, running.stderr.read()
    wait_until(lambda: stack.daemon.command("leases")["leases"], 5, "the lease is kept")
    left = stack.daemon.command("leases")["leases"][0]["until"] - time.time()
    assert 3500 < left <= 3601
    assert client.batch("alice", "true").returncode == 0
    assert phone.requests() == []
    assert phone.problems() == []


def test_without_a_choice_there_is_none_and_a_command_says_what_it_covers(up):
    stack = up(lease="8h")
    phone = stack.phone("alice")
    run = on_terminal_of("alice", "sudo", "-k", "id", "-u", timeout=20)
    run.answer_password(PASSWORD)
    card = phone.next_request()
    assert "Any command of this service, not only this one" in hint(phone)
    run.answer_code(phone.approve(card))
    assert run.finish() == 0
    assert stack.daemon.command("leases")["leases"] == []
