"""What a host adds to a request, on the phone's screen: each with whose word it is, and nothing in it acts."""

import pytest
from lab.page import PHONE
from test_web_alarm import Parts
from test_web_safe import ESCAPED, TRICKS

# The phone's browser is in UTC: this clock is another one.
ZONE = {"name": "Asia/Kolkata", "offset": 330}
PLACE = {"text": "Berlin, Germany", "source": "geoip"}


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def ask(parts, **context):
    asked = parts.host.ask(parts.device, context=context)
    card = parts.phone.next_request()
    assert card["id"] == asked.id
    return card


def test_a_place_and_a_new_address_are_labelled(parts):
    origin = ask(parts, new_source=True, place=PLACE)["rows"]["from"]
    lines = [line.strip() for line in origin.splitlines() if line.strip()]
    assert lines == [
        "192.0.2.7 port 50022 (seen by the machine)",
        "Berlin, Germany (by the machine’s own table; may be wrong)",
        "First time from this address",
    ]
    assert parts.phone.problems() == []


def test_a_clock_of_another_zone_is_shown_and_the_same_one_is_not(parts):
    row = ask(parts, zone=ZONE)["rows"]["time"]
    assert "there (UTC+05:30, Asia/Kolkata)" in row
    parts.phone.deny(parts.phone.requests()[0])
    assert "time" not in ask(parts, zone={"name": "Atlantic/Reykjavik", "offset": 0})["rows"]


def test_what_the_host_says_of_itself_is_text_and_nothing_else(parts):
    evil = f"<img src=x onerror=alert(1)>{TRICKS}"
    escaped = f"<img src=x onerror=alert(1)>{ESCAPED}"
    card = ask(parts, new_source=True, place={"text": evil, "source": "geoip"}, zone={"name": evil, "offset": -150})
    assert f"{escaped} (by the machine’s own table; may be wrong)" in card["rows"]["from"]
    assert f"(UTC−02:30, {escaped})" in card["rows"]["time"]
    assert parts.phone.evaluate("() => document.querySelectorAll('[data-testid=card] img').length") == 0
    assert parts.phone.problems() == []


def test_words_that_a_phone_does_not_know_are_no_request(parts):
    """A label is the app's, never the host's."""
    parts.host.ask(parts.device, context={"place": {"text": "Berlin", "source": "certain"}})
    parts.phone.wait_for(id="alarm")
    assert parts.phone.requests() == []


def test_whose_word_a_command_is_stands_outside_of_the_box_that_the_command_fills(parts):
    source = "(command line of the calling process)"
    command = "true " * 150 + "(seen by the machine)"
    parts.phone.do("size", **PHONE)
    parts.host.ask(parts.device, kind="command", service="sudo", command=command, context={"new_source": True, "place": PLACE, "zone": ZONE})
    card = parts.phone.next_request()
    assert card["rows"]["command"].strip() == command
    assert parts.phone.text(id="word") == source
    assert not parts.phone.evaluate("() => !!document.querySelector('[data-testid=word]').closest('.typed')")
    # Seen without scrolling inside the box; and with all of it nothing is wider than the screen.
    box, label = (
        parts.phone.evaluate("(id) => document.querySelector(`[data-testid=${id}]`).getBoundingClientRect().toJSON()", name)
        for name in ("command", "word")
    )
    assert label["top"] >= box["bottom"] and label["height"] > 0
    assert parts.phone.evaluate("() => document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert parts.phone.accessibility() == []
