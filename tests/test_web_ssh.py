"""ssh and sudo with the web approver: what the person sees and taps, and what then opens."""

import time

import pytest
from lab.page import settled
from lab.process import wait_until
from lab.terminal import ACKNOWLEDGE, on_terminal_of

PASSWORD = "alice-password"


@pytest.fixture
def parts(stack):
    return stack, stack.phone("alice"), stack.client(stack.sshd())


def ssh(client, *command):
    login = client.login("alice", *(command or ("id", "-un")), timeout=30)
    login.answer_password(PASSWORD)
    return login


def sudo():
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password(PASSWORD)
    return run


def test_one_tap_and_the_code_on_the_screen_open(parts):
    stack, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    login.answer_code(phone.approve(request))
    assert login.finish() == 0
    assert login.lines()[-1] == "alice"
    assert phone.wait_closed(request)["outcome"] == "approved"
    assert stack.daemon.audit()[-1]["outcome"] == "granted", stack.daemon.audit()[-1]
    assert phone.problems() == []


def test_the_screen_says_who_what_where_and_from_where(parts):
    _, phone, client = parts
    login = ssh(client)
    card = phone.next_request()
    assert card["kind"] == "login"
    assert "alice" in card["headline"] and "lab" in card["headline"]
    assert "127.0.0.1" in card["rows"]["from"]
    assert card["rows"]["service"] == "sshd"
    login.kill()


def test_sudo_shows_its_command(parts):
    _, phone, _ = parts
    run = sudo()
    card = phone.next_request()
    assert card["kind"] == "command"
    assert "echo ran" in card["rows"]["command"]
    run.answer_code(phone.approve(card))
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"


def test_a_code_that_is_not_the_screens_does_not_open(parts):
    _, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    code = phone.approve(request)
    for _ in range(3):
        login.answer_code(f"{(int(code) + 1) % 1_000_000:06d}")
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] == "failed"


def test_deny_refuses(parts):
    _, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    phone.deny(request)
    login.answer_code("")
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] == "denied"


def test_this_was_not_me_refuses_and_is_reported(parts):
    stack, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    phone.report(request)
    login.answer_code("")
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] == "reported"


def test_nobody_answers_and_the_card_says_that_time_is_up(up):
    stack = up(wait="5s")
    phone = stack.phone("alice")
    run = sudo()
    request = phone.next_request()
    assert phone.wait_closed(request, seconds=9)["outcome"] == "expired"
    assert phone.count(id="approve") == 0
    run.kill()


@pytest.mark.quiet
def test_a_killed_ssh_takes_its_card_away_within_a_second(parts):
    _, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    killed = time.monotonic()
    login.kill()
    card = phone.wait_closed(request)
    took = time.monotonic() - killed
    assert card["outcome"] == "withdrawn"
    assert took < 1, f"{took:.2f} s"


def test_a_key_alone_needs_one_tap_and_no_code(parts):
    stack, phone, client = parts
    client = stack.client(client.sshd, "alice")
    running = client.start("alice", "id", "-un")
    assert phone.approve(phone.next_request()) is None
    out, err = running.communicate(timeout=10)
    assert (running.returncode, out) == (0, "alice\n"), err


def test_of_two_phones_the_first_decides_and_the_other_is_told(stack):
    one, two = stack.phone("alice", "one"), stack.phone("alice", "two")
    run = sudo()
    request, other = one.next_request(), two.next_request()
    assert request["id"] == other["id"]
    run.answer_code(two.approve(other))
    assert run.finish() == 0
    card = one.wait_closed(request)
    assert card["outcome"] == "approved"
    # Nobody has approved here, and the card does not look as if.
    assert card["code"] is None


def test_two_requests_at_once_are_shown_as_a_conflict_with_what_differs(parts):
    _, phone, client = parts
    login = ssh(client)
    first = phone.next_request()
    run = sudo()
    phone.next_request(after=1)
    phone.wait_for(id="conflict")
    cards = {card["rows"]["service"]: card for card in phone.requests()}
    for card in cards.values():
        assert "service" in card["differs"]
    # One is approved, the other stays a question.
    login.answer_code(phone.approve(cards["sshd"]))
    assert login.finish() == 0
    assert phone.wait_closed(first)["outcome"] == "approved"
    assert [card["id"] for card in phone.requests()] == [cards["sudo"]["id"]]
    phone.deny(cards["sudo"])
    run.answer_code("")
    run.expect(ACKNOWLEDGE)
    assert "ran" not in run.lines()
    run.kill()


def test_a_finger_on_the_way_down_does_not_approve_what_has_just_come(parts):
    """A card that appears under a finger takes no answer at once."""
    _, phone, client = parts
    phone.do("script", script="""
      new MutationObserver(() => {
        const approve = document.querySelector('[data-kind=login] [data-testid=approve]');
        if (approve && !globalThis.tappedAtOnce) { globalThis.tappedAtOnce = true; approve.click(); }
      }).observe(document, { childList: true, subtree: true });
    """)  # fmt: skip
    phone.reload()
    phone.connected()
    login = ssh(client)
    request = phone.next_request()
    assert phone.evaluate("() => globalThis.tappedAtOnce === true")
    assert settled(phone).card(request)["phase"] == "open"
    login.kill()


def test_the_history_on_the_device_has_what_was_asked(parts):
    _, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    phone.deny(request)
    phone.wait_closed(request)
    phone.evaluate("() => { location.hash = '#/history'; }")
    phone.wait_for(css=f'[data-testid=entry][data-request="{request["key"]}"]')
    assert phone.evaluate("() => document.querySelector('[data-testid=entry]').dataset.outcome") == "denied"
    login.kill()


def test_keys_and_pairing_survive_the_browsers_end(stack, tmp_path):
    phone = stack.phone("alice", directory=str(tmp_path / "profile"))
    phone.restart()
    phone.connected()
    run = sudo()
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0


def test_a_request_that_came_while_the_phone_was_off_is_there_when_it_is_on(parts):
    _, phone, client = parts
    url = phone.url()
    phone.goto("about:blank")
    login = ssh(client)
    phone.goto(url)
    request = phone.next_request()
    login.answer_code(phone.approve(request))
    assert login.finish() == 0


def test_a_server_that_restarts_loses_no_login(parts):
    stack, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    stack.server.kill()
    stack.server.start()
    phone.connected(seconds=20)
    login.answer_code(phone.approve(request))
    assert login.finish() == 0


def test_a_network_that_comes_back_brings_the_answer(parts):
    """Approved while the phone had no network: the answer goes when there is one again."""
    _, phone, client = parts
    login = ssh(client)
    request = phone.next_request()
    phone.offline()
    code = phone.approve(request)
    assert "true" != phone.evaluate("() => document.querySelector('[data-testid=delivery]').dataset.delivered")
    phone.offline(False)
    wait_until(lambda: phone.evaluate("() => document.querySelector('[data-testid=delivery]')?.dataset.delivered") != "false",
               15, "the answer is delivered")  # fmt: skip
    login.answer_code(code)
    assert login.finish() == 0


def test_a_device_that_was_removed_on_the_host_rings_no_more_and_says_so(stack):
    phone, other = stack.phone("alice", "old"), stack.phone("alice", "new")
    stack.daemon.command("revoke", "alice", "old")
    run = sudo()
    run.answer_code(other.approve(other.next_request()))
    assert run.finish() == 0
    assert phone.requests() == []
