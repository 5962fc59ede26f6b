"""The phone's keys: where they are, what happens when they are gone, and browsers that lack Ed25519."""

import pytest
from lab.pairing import PairingCommand
from lab.phone import Phone
from lab.terminal import on_terminal_of

PASSWORD = "alice-password"
# A browser whose WebCrypto has no Ed25519, as some had until 2025.
NO_ED25519 = """
  for (const name of ['generateKey', 'importKey']) {
    const real = SubtleCrypto.prototype[name];
    SubtleCrypto.prototype[name] = async function (...rest) {
      if (rest.some((one) => (one?.name ?? one) === 'Ed25519')) throw new DOMException('Unrecognized name.', 'NotSupportedError');
      return real.apply(this, rest);
    };
  }
"""
NO_X25519 = NO_ED25519.replace("=== 'Ed25519'", "=== 'X25519'")
# Everything in the databases of the page, with each key's `extractable`.
STORED_KEYS = """async () => {
  const found = [];
  const look = (value, depth) => {
    if (value instanceof CryptoKey) found.push({ type: value.type, name: value.algorithm.name, extractable: value.extractable });
    else if (value && typeof value === 'object' && depth < 6) for (const one of Object.values(value)) look(one, depth + 1);
  };
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      const opening = indexedDB.open(name);
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    for (const store of database.objectStoreNames) {
      const all = await new Promise((resolve) => {
        const asked = database.transaction(store).objectStore(store).getAll();
        asked.onsuccess = () => resolve(asked.result);
      });
      look(all, 0);
    }
    database.close();
  }
  return found;
}"""
# As a browser that clears a site's databases; what else it keeps stays.
EVICT = """async () => {
  for (const { name } of await indexedDB.databases()) {
    await new Promise((resolve) => {
      const gone = indexedDB.deleteDatabase(name);
      gone.onsuccess = gone.onerror = gone.onblocked = resolve;
    });
  }
}"""


def sudo():
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password(PASSWORD)
    return run


def test_private_keys_cannot_be_taken_out_of_the_browser(stack):
    phone = stack.phone("alice")
    keys = phone.evaluate(STORED_KEYS)
    private = [key for key in keys if key["type"] == "private"]
    assert {key["name"] for key in private} == {"Ed25519", "X25519"}
    assert not [key for key in private if key["extractable"]]
    assert not [key for key in keys if key["type"] == "secret"]


def test_keys_that_vanished_are_explained_and_the_phone_can_start_over(stack, tmp_path):
    phone = stack.phone("alice", "first")
    phone.evaluate(EVICT)
    phone.reload()
    phone.wait_for(css="[data-testid=page][data-page=lost]")
    assert "countersign pair" in phone.content()
    assert phone.requests() == []
    phone.click(id="start-over")
    phone.wait_for(id="welcome")
    phone.name = "again"
    phone.pair("alice")
    run = sudo()
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0


def test_keys_that_vanish_under_an_open_page_approve_nothing(stack):
    phone = stack.phone("alice")
    phone.evaluate(EVICT)
    phone.evaluate("() => { localStorage.clear(); }")
    phone.reload()
    # A browser that forgot everything is a new one.
    phone.wait_until("() => ['lost', 'welcome'].includes(document.querySelector('[data-testid=page]')?.dataset.page)")


def test_a_browser_without_ed25519_pairs_and_approves_with_p256(stack):
    phone = stack.phone("alice", "older", scripts=[NO_ED25519])
    private = [key for key in phone.evaluate(STORED_KEYS) if key["type"] == "private"]
    assert {key["name"] for key in private} == {"ECDSA", "X25519"}
    assert not [key for key in private if key["extractable"]]
    run = sudo()
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"
    approvers = (stack.daemon.state / "approvers").read_text()
    assert "ecdsa-sha2-nistp256 " in approvers


def test_a_browser_without_x25519_is_told_which_one_can(stack):
    host = PairingCommand("alice")
    try:
        phone = Phone(stack.server.origin, scripts=[NO_X25519])
        phone.goto(host.link)
        phone.wait_for(css="[data-testid=page][data-page=unsupported]")
        assert phone.count(id="pair") == 0
        assert host.event("answered") is None
    finally:
        host.stop()


def test_a_renamed_phone_is_the_same_phone(stack):
    phone = stack.phone("alice", "old name")
    phone.evaluate("() => { location.hash = '#/devices'; }")
    phone.fill("new name", id="name")
    phone.click(id="rename")
    phone.wait_for(id="note")
    phone.inbox()
    run = sudo()
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0


@pytest.mark.parametrize("what", ["forget", "start-over"])
def test_forgetting_leaves_no_key_behind(stack, what):
    phone = stack.phone("alice")
    phone.evaluate("() => { location.hash = '#/settings'; }")
    if what == "start-over":
        phone.click(id="start-over")
        phone.click(id="dialog-yes")
        phone.wait_for(id="welcome")
        assert not [key for key in phone.evaluate(STORED_KEYS) if key["type"] == "private"]
    else:
        phone.evaluate("() => { location.hash = '#/machines'; }")
        phone.click(id="forget-machine")
        phone.click(id="dialog-yes")
        phone.wait_until("() => !document.querySelector('[data-testid=machine]')")
