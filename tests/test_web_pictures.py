"""The README's pictures of the web approver: `make screenshots`."""

import shutil
import subprocess

import pytest
from lab import accounts, paths
from lab.page import DESKTOP, PHONE, TABLET
from lab.pairing import PairingCommand
from lab.phone import Phone

pytestmark = pytest.mark.screenshots

IMAGES = paths.REPOSITORY / "docs" / "images"
SIZES = {"phone": PHONE, "tablet": TABLET, "desktop": DESKTOP}


def take(phone, name, tmp_path):
    """The screen in all sizes, light and dark; few colours, small files."""
    phone.wait_until("() => document.fonts.status === 'loaded'")
    for size, pixels in SIZES.items():
        for theme in ("light", "dark"):
            raw = tmp_path / "raw.png"
            phone.screenshot(raw, pixels, theme)
            file = IMAGES / f"{name}-{size}-{theme}.png"
            subprocess.run(["convert", raw, "-strip", "-dither", "None", "-colors", "64", f"PNG8:{file}"], check=True)
    phone.do("size", **PHONE)
    phone.do("theme", theme="light")


def test_the_four_steps(up, tmp_path):
    assert shutil.which("convert"), "imagemagick is not there: packaging/install-deps --tests"
    stack = up(wait="60s", server={"port": 8480, "name": "localhost"})
    sshd = stack.sshd()
    host = PairingCommand("demo")
    phone = Phone(stack.server.origin, "Pixel", viewport=PHONE)
    phone.open_link(host.link)
    take(phone, "web-pair", tmp_path)
    phone.start_pairing()
    code = phone.pairing_code()
    take(phone, "web-code", tmp_path)
    host.type(code)
    phone.wait_for_step("done")
    phone.answer_test_ring(host)
    assert host.finish() == 0
    phone.inbox()
    login = stack.client(sshd).login("demo", "id", "-un", timeout=60)
    login.answer_password(accounts.PASSWORDS["demo"])
    request = phone.next_request()
    # A card that has just come takes no answer yet, and looks like it.
    phone.wait_until("() => document.querySelector('[data-testid=approve]:not([aria-disabled])')")
    take(phone, "web-request", tmp_path)
    digits = phone.approve(request)
    phone.wait_until("() => document.querySelector('[data-testid=deny]:not([aria-disabled])')")
    take(phone, "web-approved", tmp_path)
    login.answer_code(digits, timeout=60)
    assert login.finish() == 0
