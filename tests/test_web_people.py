"""For everyone: keyboard, screen readers, small screens, two languages."""

import pytest
from lab.fake_host import some_key_id
from lab.page import DESKTOP, PHONE, TABLET, settled
from lab.pairing import PairingCommand
from lab.phone import Phone, digits
from lab.process import wait_until
from lab.terminal import on_terminal_of
from test_web_alarm import Parts
from test_web_keys import EVICT, NO_X25519

PLACES = ("inbox", "machines", "devices", "history", "code", "settings")


@pytest.fixture
def parts(tmp_path, clean):
    return Parts(tmp_path)


def place(phone, name):
    phone.evaluate("(name) => { location.hash = name === 'inbox' ? '#/' : `#/${name}`; }", name)
    phone.wait_for(css=f"[data-testid=page][data-page={name}]")


def tab_to(phone, testid, most=60):
    """Walks with the Tab key to an element."""
    for _ in range(most):
        if phone.evaluate("() => document.activeElement?.dataset.testid ?? null") == testid:
            # Whoever walks has to see where.
            assert phone.evaluate("() => document.activeElement.matches(':focus-visible')")
            return
        phone.press("Tab")
    raise AssertionError(f"the Tab key does not come to {testid}: {phone.said()}")


def test_pairing_and_approving_need_no_pointer(stack):
    host = PairingCommand("alice")
    phone = Phone(stack.server.origin, "keys")
    phone.open_link(host.link)
    tab_to(phone, "device-name")
    phone.press("Control+a")
    phone.type("keyboard")
    tab_to(phone, "notify")
    phone.press("Space")
    tab_to(phone, "pair")
    phone.press("Enter")
    host.type(phone.pairing_code())
    phone.wait_for_step("done")
    wait_until(lambda: not host.alive() or [card for card in phone.cards() if card["kind"] == "test"], 15, "the test ring")
    if host.alive():
        settled(phone, 1)
        tab_to(phone, "approve")
        phone.press("Enter")
    assert host.finish() == 0, host.said()
    assert stack.daemon.command("devices", "alice")["devices"][0]["name"] == "keyboard"
    place(phone, "inbox")
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password("alice-password")
    request = phone.next_request()
    # As long as a card has just come it takes no key either.
    settled(phone, 1)
    tab_to(phone, "approve")
    phone.press("Enter")
    card = phone.wait_card(request, lambda card: card["code"], "its code")
    run.answer_code(digits(card["code"]))
    assert run.finish() == 0


def test_a_dialog_closes_by_escape_and_gives_the_focus_back(parts):
    phone = parts.phone
    place(phone, "machines")
    tab_to(phone, "forget-machine")
    phone.press("Enter")
    phone.wait_for(id="dialog-no")
    phone.press("Escape")
    phone.wait_until("() => !document.querySelector('dialog')")
    assert phone.evaluate("() => document.activeElement.dataset.testid") == "forget-machine"
    assert phone.count(id="machine") == 1


def test_a_new_request_is_announced_and_its_focus_is_not_stolen(parts):
    phone = parts.phone
    place(phone, "devices")
    phone.evaluate("() => document.querySelector('[data-testid=name]').focus()")
    parts.host.ask(parts.device)
    phone.wait_until("() => document.querySelector('[data-testid=announcer]').textContent.length > 10")
    assert phone.evaluate("() => document.activeElement.dataset.testid") == "name"


def audit(phone, where, found):
    problems = phone.accessibility()
    if problems:
        found.append(f"{where}:\n" + "\n".join(problems))
    # Nothing is wider than the screen.
    over = phone.evaluate("() => document.scrollingElement.scrollWidth - innerWidth")
    if over > 0:
        found.append(f"{where}: {over} pixels wider than the screen")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_no_page_has_a_serious_finding(parts, theme, size):
    found = []
    phone = Phone(parts.server.origin, theme=theme, viewport=size, motion="reduce")
    phone.goto(parts.server.origin)
    phone.wait_for(id="welcome")
    audit(phone, "welcome", found)
    pairing = parts.host.pairing("carol")
    phone.open_link(pairing.link)
    audit(phone, "pair", found)
    phone.start_pairing()
    pairing.first()
    pairing.second()
    phone.pairing_code()
    audit(phone, "pairing code", found)
    device = pairing.third()
    phone.wait_for_step("done")
    audit(phone, "paired", found)
    phone.inbox()
    for name in PLACES:
        place(phone, name)
        audit(phone, name, found)
    place(phone, "inbox")
    host = parts.host
    one = host.ask(device, lease_max=3600, terminal="pts/3", ssh_key={"fingerprint": "SHA256:" + "A" * 43, "type": "ssh-ed25519"})
    first = phone.next_request()
    audit(phone, "a request", found)
    host.ask(device, kind="command", service="sudo", command="apt-get " + "very-long-argument " * 20, requester="dave", remote=None)
    second = phone.next_request(after=1)
    audit(phone, "two requests", found)
    phone.evaluate("(key) => { location.hash = `#/request/${encodeURIComponent(key)}`; }", second["key"])
    phone.wait_for(css="[data-testid=page][data-page=request]")
    audit(phone, "one request", found)
    place(phone, "inbox")
    phone.approve(first)
    audit(phone, "a code", found)
    host.close(device, one, "approved")
    phone.wait_closed(first)
    audit(phone, "an end", found)
    host.post("request", device, "ab" * 16, b"{}", "")
    phone.wait_for(id="alarm")
    peers = [{"id": device.id, "name": device.name, "paired_at": 1}, {"id": some_key_id("tablet"), "name": "tablet", "paired_at": 2}]
    host.notice(device, peers, {"what": "paired", "device": some_key_id("tablet"), "name": "tablet"})
    phone.wait_for(id="news")
    audit(phone, "an alarm and news", found)
    for name in ("machines", "devices", "history"):
        place(phone, name)
        audit(phone, f"{name}, filled", found)
    place(phone, "devices")
    phone.click(id="remove-device")
    phone.wait_for(id="dialog-no")
    audit(phone, "a question", found)
    phone.click(id="dialog-no")
    phone.goto(f"{parts.server.origin}/pair#1.x")
    phone.wait_until("() => document.querySelector('[data-testid=fault]')")
    audit(phone, "a fault", found)
    phone.evaluate(EVICT)
    phone.goto(parts.server.origin)
    phone.reload()
    phone.wait_for(css="[data-testid=page][data-page=lost]")
    audit(phone, "lost keys", found)
    assert not found, "\n".join(found)


def test_a_browser_that_cannot_is_told_so_accessibly(parts):
    phone = Phone(parts.server.origin, scripts=[NO_X25519], viewport=TABLET)
    phone.goto(parts.server.origin)
    phone.wait_for(css="[data-testid=page][data-page=unsupported]")
    assert phone.accessibility() == []


# Sentences of the English text, as they would be on the screen.
ENGLISH = """async () => {
  const words = (await import('/js/text/en.js'));
  const found = [];
  const look = (value) => {
    if (typeof value === 'string') found.push(value);
    else if (value && typeof value === 'object') Object.values(value).forEach(look);
  };
  look({ ...words });
  // Between the gaps that are filled in; from three words on it is a sentence and no name.
  return [...new Set(found.flatMap((text) => text.split(/\\{[^}]*\\}/)).map((text) => text.trim())
    .filter((text) => text.split(/\\s+/).length >= 3))];
}"""


def test_in_german_there_is_no_english_sentence(parts):
    phone = Phone(parts.server.origin, locale="de-DE")
    phone.goto(parts.server.origin)
    phone.wait_for(id="welcome")
    assert phone.evaluate("() => document.documentElement.lang") == "de"
    english = phone.evaluate(ENGLISH)
    assert len(english) > 100
    seen = {}

    def read(where):
        text = " ".join(phone.content().split())
        left = [sentence for sentence in english if " ".join(sentence.split()) in text]
        if left:
            seen[where] = left

    read("welcome")
    pairing = parts.host.pairing("carol")
    phone.open_link(pairing.link)
    read("pair")
    phone.start_pairing()
    pairing.first()
    pairing.second()
    phone.pairing_code()
    read("pairing code")
    device = pairing.third()
    phone.wait_for_step("done")
    read("paired")
    phone.inbox()
    parts.host.ask(device, lease_max=3600)
    request = phone.next_request()
    read("request")
    phone.approve(request)
    read("code")
    parts.host.post("request", device, "ab" * 16, b"{}", "")
    phone.wait_for(id="alarm")
    for name in PLACES:
        place(phone, name)
        read(name)
    assert seen == {}


def test_the_language_can_be_changed_and_stays(parts):
    phone = parts.phone
    place(phone, "settings")
    phone.evaluate("() => { const select = document.querySelector('[data-testid=language]'); select.value = 'de'; select.dispatchEvent(new Event('change', { bubbles: true })); }")
    phone.wait_until("() => document.documentElement.lang === 'de'")
    phone.reload()
    phone.wait_until("() => document.documentElement.lang === 'de'")


def test_every_english_text_has_a_german_one(parts):
    missing = parts.phone.evaluate(
        """async () => {
          const [en, de] = await Promise.all([import('/js/text/en.js'), import('/js/text/de.js')]);
          const keys = (value, at) => (value && typeof value === 'object' ? Object.entries(value).flatMap(([name, one]) => keys(one, `${at}/${name}`)) : [at]);
          const [a, b] = [new Set(keys({ ...en }, '')), new Set(keys({ ...de }, ''))];
          return [[...a].filter((key) => !b.has(key)), [...b].filter((key) => !a.has(key))];
        }"""
    )
    assert missing == [[], []]
