"""Nothing that comes from outside runs in the page, and the page asks nobody but its server."""

import pytest
from lab import cold_load
from lab.fake_host import some_key_id
from lab.phone import Phone
from test_web_alarm import Parts, pair

BUDGET = 124 * 1024

MARKUP = [
    '<img src=x onerror="globalThis.pwned = 1">',
    '"><script>globalThis.pwned = 1</script>',
    "'-globalThis.pwned-'${globalThis.pwned=1}{{constructor.constructor('pwned=1')()}}",
    "javascript:globalThis.pwned=1",
]
# A right-to-left override, a line feed, an escape sequence, a zero-width space, a NUL, half a pair.
TRICKS = "a\u202egnp.exe\nb\x1b[31m\u200bc\u0000d"
ESCAPED = r"a\u{202e}gnp.exe\u{a}b\u{1b}[31m\u{200b}c\u{0}d"


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def untouched(phone):
    """Nothing ran, nothing was asked for, and the policy had nothing to stop."""
    assert phone.evaluate("() => globalThis.pwned ?? null") is None
    assert phone.evaluate("() => document.querySelectorAll('img[src=x], script:not([src])').length") == 0
    assert phone.problems() == []
    assert not [told for told in phone.all("request") if told["url"].endswith("/x")]


@pytest.mark.parametrize("payload", [*MARKUP, TRICKS], ids=["img", "script", "template", "scheme", "tricks"])
def test_no_field_of_a_request_runs_or_deceives(parts, payload):
    phone = parts.phone
    shown = ESCAPED if payload == TRICKS else payload.replace("\\", "\\\\")
    common = {
        "user": payload, "requester": payload + "2", "service": payload, "terminal": payload, "lease_max": 3600,
        "remote": {"address": payload, "source": "pam"}, "ssh_key": {"fingerprint": payload, "type": payload},
        "approvals": {"needed": 2, "from": [payload, payload]},
        "host": {"name": payload, "key": parts.host.key.line},
    }  # fmt: skip
    sent = [parts.host.ask(parts.device, kind="login", **common)]
    first = phone.next_request()
    common.update(terminal=None, ssh_key=None)
    sent.append(parts.host.ask(parts.device, kind="command", command=payload, **common))
    sent.append(parts.host.ask(parts.device, kind="action", action=payload, **common))
    phone.next_request(after=2)
    cards = {card["kind"]: card for card in phone.requests()}
    for row in ("from", "service", "terminal", "ssh_key", "machine", "approvals"):
        assert shown in cards["login"]["rows"][row], row
    assert shown in cards["command"]["rows"]["command"]
    assert shown in cards["action"]["rows"]["action"]
    assert shown in cards["login"]["headline"]
    # A login is asked by somebody else than it is for: both are named.
    assert cards["login"]["headline"].count(shown) == 2
    untouched(phone)
    # Nor where else it is shown: the request's own page, its end, the history.
    for card in cards.values():
        phone.evaluate("(key) => { location.hash = `#/request/${encodeURIComponent(key)}`; }", card["key"])
        phone.wait_for(id="card")
    phone.evaluate("() => { location.hash = '#/'; }")
    phone.wait_for(id="card")
    phone.deny(first)
    for asked in sent:
        parts.host.close(parts.device, asked, "denied")
    phone.wait_closed(first)
    untouched(phone)
    phone.evaluate("() => { location.hash = '#/history'; }")
    phone.wait_until("() => document.querySelectorAll('[data-testid=entry]').length === 3")
    phone.evaluate("() => { for (const entry of document.querySelectorAll('details')) entry.open = true; }")
    assert phone.content().count(shown) >= 8
    untouched(phone)


@pytest.mark.parametrize("payload", [*MARKUP, TRICKS], ids=["img", "script", "template", "scheme", "tricks"])
def test_no_name_of_a_machine_or_device_runs_or_deceives(parts, payload):
    phone, name = parts.phone, payload[:60]
    shown = ESCAPED if payload == TRICKS else name.replace("\\", "\\\\")
    host = parts.host
    host.name = name
    device = pair(phone, host, user="bob")
    peers = [{"id": device.id, "name": name, "paired_at": 1}, {"id": some_key_id("tablet"), "name": name, "paired_at": 2, "last_used_at": 3}]
    event = {"what": "paired", "device": some_key_id("tablet"), "name": name}
    host.notice(device, peers, event)
    phone.wait_for(id="news")
    assert shown in phone.content()
    for page in ("machines", "devices", "settings", "history", "code"):
        phone.evaluate("(page) => { location.hash = `#/${page}`; }", page)
        phone.wait_for(css=f"[data-testid=page][data-page={page}]")
        untouched(phone)
        if page in ("machines", "devices"):
            assert shown in phone.content(), page


def test_the_pages_policy_is_in_force(parts):
    """What an attacker would try if text ever became markup."""
    phone = parts.phone
    headers = next(told["headers"] for told in phone.all("answer") if told["url"].split("#")[0].rstrip("/").endswith(("/pair", parts.server.origin)))
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    # The debugger's own evaluation is outside the policy; what the page's event loop does is not.
    ran = phone.evaluate(
        """async () => {
          const tried = {};
          const attempt = (name, act) => { try { act(); tried[name] = 'ran'; } catch (error) { tried[name] = error.name; } };
          attempt('innerHTML', () => { document.createElement('div').innerHTML = '<b>x</b>'; });
          attempt('script text', () => { document.createElement('script').text = 'globalThis.pwned = 1'; });
          attempt('script address', () => { document.createElement('script').src = '/js/ui/main.js'; });
          attempt('policy', () => { trustedTypes.createPolicy('other', { createHTML: (text) => text }); });
          attempt('same policy again', () => { trustedTypes.createPolicy('countersign', { createHTML: (text) => text }); });
          const blob = URL.createObjectURL(new Blob(['globalThis.pwned = 1'], { type: 'text/javascript' }));
          tried.import = await import(blob).then(() => 'ran', (error) => error.name);
          tried.fetch = await fetch('http://127.0.0.1:1/').then(() => 'ran', (error) => error.name);
          return tried;
        }"""
    )
    assert "ran" not in ran.values(), ran
    assert phone.evaluate("() => globalThis.pwned ?? null") is None
    assert phone.all("violation"), "the policy told of nothing that it stopped"


def test_an_injected_inline_script_does_not_run(parts):
    """A proxy that writes into the page cannot; were the page itself changed, the policy stops what is inline."""
    phone = Phone(parts.server.origin)
    phone.do("replaceBody", url=f"{parts.server.origin}/", **{"from": "</head>", "to": "<script>globalThis.pwned = 1</script></head>"})
    phone.goto(parts.server.origin)
    phone.wait_for(id="welcome")
    assert phone.evaluate("() => globalThis.pwned ?? null") is None
    assert [told["directive"] for told in phone.all("violation")] == ["script-src-elem"]


def test_the_page_cannot_be_framed(parts):
    phone = Phone(parts.server.origin)
    phone.do("fulfil", url="http://localhost:1/", json={})
    phone.goto("http://localhost:1/")
    framed = phone.evaluate(
        """(url) => new Promise((resolve) => {
          const frame = document.createElement('iframe');
          frame.onload = () => { try { resolve(frame.contentWindow.length >= 0 && frame.contentDocument === null ? 'blocked' : 'seen'); } catch (error) { resolve(error.name); } };
          frame.src = url;
          document.body.append(frame);
        })""",
        parts.server.origin,
    )
    assert framed == "blocked"
    assert not [told for told in phone.all("request") if told["url"].startswith(f"{parts.server.origin}/js/")]


def test_a_whole_life_asks_nobody_but_the_server(parts):
    phone = parts.phone
    parts.host.ask(parts.device)
    phone.approve(phone.next_request())
    for page in ("machines", "devices", "settings", "history", "code"):
        phone.evaluate("(page) => { location.hash = `#/${page}`; }", page)
        phone.wait_for(css=f"[data-testid=page][data-page={page}]")
    asked = {told["url"] for told in phone.all("request")}
    others = [url for url in asked if not url.startswith((f"{parts.server.origin}/", "data:", "blob:"))]
    assert others == []
    assert phone.problems() == []


def test_the_whole_app_is_small(tmp_path, clean):
    cost = cold_load.measure(tmp_path)
    assert cost.files <= BUDGET, cost
    # Nothing of any weight travels twice.
    assert cost.wire <= cost.files + 32 * 1024, cost
