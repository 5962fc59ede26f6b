"""An action with a list, on the phone: all of it is shown, and nothing is approved before that."""

import pytest
from lab.fake_host import List
from lab.page import settled
from test_web_alarm import Parts

PACKAGES = "".join(f"install package-{number} (1.{number}-1)\n" for number in range(500))
ACTION = {"kind": "action", "service": "ask", "action": "apt.install", "detail": "install 500 packages", "remote": None, "confirm": "tap"}


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def ask(parts, listed):
    return parts.host.ask(parts.device, id=listed.number, list=listed.described, **ACTION)


def state(phone):
    """What the card says where Approve would be, and of what is wrong with the list."""
    return phone.evaluate(
        """() => ({
          pending: document.querySelector('[data-testid=list-state]')?.innerText ?? null,
          trouble: document.querySelector('[data-testid=list-trouble]')?.dataset.state ?? null,
          approve: document.querySelectorAll('[data-testid=approve]').length,
          deny: document.querySelectorAll('[data-testid=deny]').length,
        })"""
    )


def wait_for_trouble(phone, which):
    phone.wait_until("(which) => document.querySelector('[data-testid=list-trouble]')?.dataset.state === which", which)
    now = state(phone)
    assert now["approve"] == 0 and now["deny"] == 1 and now["pending"], now


def wait_for_approve(phone, seconds=20):
    phone.wait_until("() => document.querySelector('[data-testid=approve]:not([aria-disabled])')", seconds=seconds)


def test_the_whole_list_is_shown_and_the_request_approved(parts):
    listed = List(PACKAGES)
    parts.host.put_list(listed)
    asked = ask(parts, listed)
    request = parts.phone.next_request()
    assert request["rows"]["action"] == "apt.install"
    assert request["rows"]["detail"] == "install 500 packages"
    assert request["rows"]["list"] == "500 lines"
    assert "the program that asks" in request["rows"]["note"]
    wait_for_approve(parts.phone)
    assert not parts.phone.visible(id="list-text"), "a long one is shown when it is asked for"
    parts.phone.click(css="[data-testid=list] summary")
    shown = parts.phone.evaluate("() => document.querySelector('[data-testid=list-text]').textContent")
    assert shown == PACKAGES.removesuffix("\n")
    assert parts.phone.visible(id="list-text")
    parts.phone.approve(request)
    assert parts.host.answer(parts.device, asked)["decision"] == "approve"


def test_what_a_list_says_acts_on_nothing(parts):
    listed = List("a <b>bold</b> &amp; \u202egnp.exe\nb \x1b[2J\\ \u200b\n")
    parts.host.put_list(listed)
    ask(parts, listed)
    parts.phone.next_request()
    parts.phone.wait_until("() => document.querySelector('[data-testid=list-text]')")
    assert parts.phone.visible(id="list-text"), "a short one is shown at once"
    shown = parts.phone.evaluate("() => [document.querySelector('[data-testid=list-text]').innerHTML.includes('<'), document.querySelector('[data-testid=list-text]').textContent]")
    assert shown == [False, "a <b>bold</b> &amp; \\u{202e}gnp.exe\nb \\u{1b}[2J\\\\ \\u{200b}"]


def test_a_list_that_was_changed_is_not_shown_and_deny_stays(parts):
    listed = List(PACKAGES)
    listed.sealed = listed.sealed[:100] + bytes([listed.sealed[100] ^ 1]) + listed.sealed[101:]
    parts.host.put_list(listed)
    asked = ask(parts, listed)
    request = parts.phone.next_request()
    wait_for_trouble(parts.phone, "wrong")
    assert parts.phone.count(id="list-text") == 0
    parts.phone.deny(request)
    assert parts.host.answer(parts.device, asked)["decision"] == "deny"


def test_another_list_than_the_signed_one_is_refused_though_it_opens(parts):
    """Whoever had the key could make one that opens: the digest is what was signed."""
    listed, other = List("install hello\n"), List("install evil!\n")
    other.described["sha256"] = listed.described["sha256"]
    parts.host.put_list(other)
    ask(parts, other)
    parts.phone.next_request()
    wait_for_trouble(parts.phone, "wrong")
    assert "evil" not in parts.phone.content()


def test_a_list_that_was_kept_back_comes_after_a_restart_of_the_server(parts):
    listed = List(PACKAGES)
    asked = ask(parts, listed)
    request = parts.phone.next_request()
    wait_for_trouble(parts.phone, "missing")
    parts.server.stop()
    parts.server.start()
    parts.host.put_list(listed)
    wait_for_approve(parts.phone)
    settled(parts.phone)
    parts.phone.approve(request)
    # The server has forgotten the request; the phone brings its answer all the same.
    assert parts.host.answer(parts.device, asked, seconds=20)["decision"] == "approve"
