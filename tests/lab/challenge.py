"""The QR code that a login shows while its server is away, read off the terminal as a phone's camera does."""

import json
import subprocess

from . import paths, qr

# The line above the code, and the prompts below it.
ABOVE = r"Scan this (?:with|in)[^\r\n]*\r?\n"
BELOW = r"eight digits[^\r\n]*: ?$"


def scan(text, directory):
    """The bytes of the code on a terminal, by zbarimg; the rows that it took, for a look at their size."""
    rows = [line for line in text.replace("\r", "").split("\n") if set(line) & set("▀▄█")]
    picture = directory / "terminal.png"
    # Light on dark, as it was drawn: what a camera sees of a dark terminal.
    modules = [[cell for cell in half] for row in rows for half in zip(*(qr.BLOCKS[c] for c in row))]
    qr.write_png(picture, qr.framed([[not cell for cell in row] for row in modules], quiet=0))
    read = subprocess.run(
        ["zbarimg", "--quiet", "--raw", "-Sbinary", picture], check=True, capture_output=True, timeout=30
    )
    return read.stdout, rows


def code(approver, challenge, answer="yes", check=True):
    """The eight digits that the native approver makes of it, without any network."""
    argv = [paths.COMMAND, "approve", "--home", approver.home, "--json", "--challenge", challenge.hex()]
    done = subprocess.run(
        [str(word) for word in argv], input=answer + "\n", capture_output=True, text=True, timeout=30
    )
    if not check:
        return done
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["code"]
