"""Pairing with the web approver: link, code, receipt, ring."""

import pytest
from lab import accounts, paths
from lab.pairing import PairingCommand
from lab.phone import Phone
from lab.process import wait_until
from lab.qr import from_terminal, write_png, write_y4m
from lab.terminal import Terminal, on_terminal_of

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
    "Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def terminal(stack):
    """`countersign pair alice`, which waits for a phone."""
    command = PairingCommand("alice")
    command.stack = stack
    yield command
    command.stop()


def devices(stack, user="alice"):
    return [device["name"] for device in stack.daemon.command("devices", user)["devices"]]


def test_a_phone_is_paired_by_link_and_code_and_really_rings(terminal):
    phone = Phone(terminal.stack.server.origin, "Alice's phone")
    phone.open_link(terminal.link)
    phone.finish_pairing(terminal)
    assert devices(terminal.stack) == ["Alice's phone"]
    assert phone.problems() == []


def test_the_secret_of_the_link_leaves_the_address_bar_and_the_history_at_once(terminal):
    phone = Phone(terminal.stack.server.origin)
    phone.open_link(terminal.link)
    secret = terminal.link.split("#")[1].split(".")[1]
    assert secret not in phone.url()
    phone.reload()
    assert secret not in phone.url()
    assert phone.evaluate("() => history.length") <= 2
    assert not [told for told in phone.all("request") if secret in told["url"]]


def test_the_page_says_for_whom_and_which_machine_before_the_code_is_typed(terminal):
    phone = Phone(terminal.stack.server.origin)
    phone.open_link(terminal.link)
    phone.start_pairing()
    code = phone.pairing_code()
    assert len(code) == 6 and code.isdigit()
    assert phone.text(id="pairing-machine") == "lab"
    assert phone.text(id="pairing-user") == "alice"
    shown = phone.text(id="pairing-fingerprint").replace("\n", "")
    assert shown == terminal.stack.daemon.status()["host_key"]
    # The fingerprint at the terminal is the one that the phone shows of itself.
    answered = terminal.wait_for("answered")
    terminal.type(code)
    phone.wait_for_step("done")
    phone.answer_test_ring(terminal)
    assert terminal.finish() == 0
    phone.evaluate("() => { location.hash = '#/devices'; }")
    phone.wait_for(id="own-fingerprint")
    assert phone.text(id="own-fingerprint").replace("\n", "") == answered["fingerprint"]


def test_before_the_receipt_the_phone_trusts_nobody(terminal):
    phone = Phone(terminal.stack.server.origin)
    phone.open_link(terminal.link)
    phone.start_pairing()
    phone.pairing_code()
    phone.click(id="pair-cancel")
    phone.wait_for(id="welcome")
    assert devices(terminal.stack) == []


def test_three_wrong_codes_pair_nobody_and_the_phone_says_so(terminal):
    phone = Phone(terminal.stack.server.origin)
    phone.open_link(terminal.link)
    phone.start_pairing()
    code = int(phone.pairing_code())
    for off in (1, 2, 3):
        terminal.type(f"{(code + off) % 1_000_000:06d}")
    assert terminal.finish() == 1
    phone.wait_for_step("failed", seconds=20)
    assert devices(terminal.stack) == []


def test_a_ticket_typed_by_hand_pairs_as_the_link_does(terminal):
    phone = Phone(terminal.stack.server.origin, "typed")
    phone.goto(terminal.stack.server.origin)
    # Badly typed, as people do: upper case, blanks, o for 0 and l for 1.
    ticket = terminal.opened()["ticket"].upper().replace("0", "O").replace("-", " ")
    phone.fill(ticket, id="ticket")
    phone.click(id="ticket-go")
    phone.wait_for_step("ready")
    phone.finish_pairing(terminal)
    assert devices(terminal.stack) == ["typed"]


def test_a_mistyped_ticket_says_so(stack):
    phone = Phone(stack.server.origin)
    phone.goto(stack.server.origin)
    phone.fill("abcde-fghjk", id="ticket")
    phone.click(id="ticket-go")
    phone.wait_until("() => document.querySelector('[data-testid=ticket-error]').textContent.length > 10")
    phone.fill("00000-00000-00000-00000-000000", id="ticket")
    phone.click(id="ticket-go")
    phone.wait_for_step("ready")
    phone.start_pairing()
    phone.wait_for_step("failed")
    assert phone.fault() == "mailbox-closed"


@pytest.fixture
def screen(stack):
    """`countersign pair alice` on a terminal of 80 columns and 40 rows, and the QR code that it draws."""
    shown = Terminal([str(paths.COMMAND), "pair", "alice"], timeout=15)
    shown.child.setwinsize(45, 100)
    shown.stack = stack
    return shown


def qr_of(screen):
    screen.expect("[Ww]aiting")
    return from_terminal(screen.text)


def test_the_terminals_code_is_read_from_a_photo(screen, tmp_path):
    picture = tmp_path / "photo.png"
    write_png(picture, qr_of(screen))
    phone = Phone(screen.stack.server.origin)
    phone.goto(screen.stack.server.origin)
    phone.click(id="scan")
    phone.choose_file(picture, css="dialog input[type=file]")
    phone.wait_for_step("ready")


def test_the_terminals_code_is_read_by_the_camera(screen, tmp_path):
    film = tmp_path / "camera.y4m"
    write_y4m(film, qr_of(screen))
    phone = Phone(
        screen.stack.server.origin, directory=str(tmp_path / "profile"), permissions=["camera"],
        args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={film}"],
    )  # fmt: skip
    phone.goto(screen.stack.server.origin)
    phone.click(id="scan")
    phone.wait_for_step("ready", seconds=20)
    # The camera is off again.
    assert phone.count(css="video") == 0


def test_a_second_device_is_paired_after_the_first_has_approved_it(stack):
    """By the user herself, not root: the paired phone is asked first."""
    first = stack.phone("alice", "first")
    host = PairingCommand("alice", argv_prefix=accounts.as_user_argv("alice"))
    try:
        host.wait_for("approve")
        host.type(first.approve(first.next_request()))
        second = Phone(stack.server.origin, "second")
        second.open_link(host.link)
        second.finish_pairing(host)
    finally:
        host.stop()
    assert sorted(devices(stack)) == ["first", "second"]
    # The first one is told of it.
    first.wait_for(css="[data-testid=news][data-what=paired]")
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password("alice-password")
    run.answer_code(second.approve(second.next_request()))
    assert run.finish() == 0


def test_a_second_device_that_the_first_denies_is_not_paired(stack):
    first = stack.phone("alice", "first")
    host = PairingCommand("alice", argv_prefix=accounts.as_user_argv("alice"))
    first.deny(first.next_request())
    host.type("")
    assert host.finish(20) != 0
    assert host.event("opened") is None
    assert devices(stack) == ["first"]


def test_a_device_is_removed_from_another_one(stack):
    first, second = stack.phone("alice", "first"), stack.phone("alice", "second")
    first.evaluate("() => { location.hash = '#/devices'; }")
    first.wait_for(css="[data-testid=other-device]")
    first.click(id="remove-device", within={"css": "[data-testid=other-device]"})
    first.click(id="dialog-yes")
    wait_until(lambda: devices(stack) == ["first"], 10, "the device is gone on the host")
    assert second


def test_on_an_iphone_outside_the_installed_app_nothing_is_paired(terminal):
    phone = Phone(terminal.stack.server.origin, agent=IPHONE)
    phone.goto(terminal.link)
    phone.wait_for(id="install-first")
    assert phone.count(id="pair") == 0
    # No key was made that would be lost, and the terminal has heard nothing.
    assert terminal.event("answered") is None
    assert phone.evaluate("async () => (await indexedDB.databases()).length") == 0 or phone.step() is None


def test_a_link_of_another_server_is_refused(stack, tmp_path):
    phone = stack.phone("alice")
    phone.goto(f"{stack.server.origin}/pair#1.AAAAAAAAAAAAAAAAAAAAAA.{'A' * 43}.https://other.example.com")
    phone.wait_until("() => document.querySelector('[data-testid=fault]')", what="a fault")
    assert phone.fault() == "other-server"


@pytest.mark.parametrize("fragment", ["", "1", "1.x", "2.AAAAAAAAAAAAAAAAAAAAAA." + "A" * 43, "1.AAAA." + "A" * 43])
def test_a_damaged_link_is_refused_in_words(stack, fragment):
    phone = Phone(stack.server.origin)
    phone.goto(f"{stack.server.origin}/pair#{fragment}")
    phone.wait_until("() => document.querySelector('[data-testid=fault]')", what="a fault")
    assert phone.fault() in ("bad-link", "link-version")
