"""What text from outside may not hold when it reaches a terminal or a log: characters that act instead of being drawn."""

import re
import unicodedata

# Signs that Unicode counts as format characters, but that are drawn.
DRAWN = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
# Invisible ones that are no format characters: Unicode's "default ignorable" letters, marks and unassigned places.
IGNORED = [
    (0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
]  # fmt: skip

# One of each kind, short enough for a name: a window's title, a cleared screen, a line of one's own, NUL, C1's colour, an override
# and an isolate of direction, zero width in four ways, a tag, a line separator, DEL. Then what must still be there to be read.
EVIL = "w\x1b]0;PWNED\x07\x1b[2J\r\nx\0\x9b31m\u202e\u2066\u200b\u034f\U0001d173\U000e0041\u2028\x7f~"
# As a device's name, which has 64 bytes, and as PAM items, which end at a NUL.
EVIL_NAME = "p\x1b]0;PWNED\x07\r\n\x9b31m\u202e\u2066\u200b\u034f\U000e0041\x7f~"
EVIL_ITEM = EVIL.replace("\0", "")


def is_active(character):
    code = ord(character)
    if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") and code not in DRAWN:
        return True
    return any(first <= code <= last for first, last in IGNORED)


def found(raw):
    """The active characters among some bytes, which have to be UTF-8, but for the ends of lines."""
    return sorted({f"U+{ord(character):04X}" for character in raw.decode() if character != "\n" and is_active(character)})


def check(raw, what, shown="PWNED"):
    """Some output: inert, on lines of its own, and still saying what it was given."""
    raw = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    assert found(raw) == [], f"{what}: {raw!r}"
    # What came in as a second line did not become one.
    assert not re.search(rb"^x", raw, re.MULTILINE), f"{what}: {raw!r}"
    assert shown.encode() in raw, f"{what} does not show it: {raw!r}"
