"""What the web approver sends back: exactly what was tapped, and nothing that was not asked for."""

import time

import pytest
from test_web_alarm import Parts


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def offered(phone, request):
    """The leases on the card, in seconds."""
    return phone.evaluate(
        "(key) => [...document.querySelectorAll(`[data-request='${key}'] [data-testid=lease]`)].map((one) => Number(one.value))",
        request["key"],
    )


def test_a_tap_is_answered_without_a_code_and_a_code_request_with_one(parts):
    tap = parts.host.ask(parts.device, confirm="tap", user="root", requester="alice", service="sudo", kind="command", command="id")
    assert parts.phone.approve(parts.phone.next_request()) is None
    answer = parts.host.answer(parts.device, tap)
    assert (answer["decision"], answer["request"]) == ("approve", tap.digest.hex())
    assert "code" not in answer and "lease" not in answer
    parts.host.close(parts.device, tap, "approved")
    asked = parts.host.ask(parts.device)
    code = parts.phone.approve(parts.phone.next_request())
    later = parts.host.answer(parts.device, asked)
    assert later["code"] == code
    assert later["counter"] > answer["counter"]


@pytest.mark.parametrize("answer", ["deny", "report"])
def test_a_no_carries_neither_code_nor_lease(parts, answer):
    asked = parts.host.ask(parts.device, lease_max=3600)
    request = parts.phone.next_request()
    parts.phone.decide(request, answer)
    sent = parts.host.answer(parts.device, asked)
    assert sent["decision"] == answer
    assert "code" not in sent and "lease" not in sent


def test_leases_are_offered_up_to_the_rules_ceiling_and_none_is_the_choice_to_begin_with(parts):
    asked = parts.host.ask(parts.device, lease_max=7200, issued_at=int(time.time()))
    request = parts.phone.next_request()
    choices = offered(parts.phone, request)
    assert choices[0] == 0 and choices[-1] == 7200 and max(choices) == 7200
    parts.phone.approve(request)
    assert "lease" not in parts.host.answer(parts.device, asked)


def test_a_lease_that_was_chosen_is_sent_and_shown(parts):
    asked = parts.host.ask(parts.device, lease_max=7200)
    request = parts.phone.next_request()
    parts.phone.evaluate("() => document.querySelector('[data-testid=lease][value=\"3600\"]').click()")
    parts.phone.approve(request)
    lease = parts.host.answer(parts.device, asked)["lease"]
    assert abs(lease["until"] - (asked.fields["issued_at"] + 3600)) < 30
    assert parts.phone.visible(id="leased")


def test_where_the_rule_has_no_lease_none_is_offered(parts):
    parts.host.ask(parts.device)
    assert offered(parts.phone, parts.phone.next_request()) == []


def test_codes_are_never_the_same_twice_in_a_row(parts):
    codes = set()
    for _ in range(3):
        asked = parts.host.ask(parts.device)
        request = parts.phone.next_request()
        codes.add(parts.phone.approve(request))
        parts.host.close(parts.device, asked, "approved")
        parts.phone.wait_closed(request)
    assert len(codes) == 3


def test_a_clock_that_is_apart_is_said_and_the_request_still_answered(parts):
    """The host's clock is ten minutes ahead: the time left is the phone's own."""
    asked = parts.host.ask(parts.device, issued_at=int(time.time()) + 600)
    request = parts.phone.next_request()
    assert "time" in request["rows"]
    parts.phone.approve(request)
    assert parts.host.answer(parts.device, asked)["decision"] == "approve"
