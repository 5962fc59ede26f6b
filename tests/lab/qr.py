"""Pictures of QR codes as a camera would see them."""

import re
import struct
import zlib

# Two modules a character, one above the other: which of them are dark.
BLOCKS = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def from_terminal(text):
    """The modules of the code that was drawn with half blocks: rows of booleans, dark is true, with a quiet zone."""
    lines = [ANSI.sub("", line) for line in text.replace("\r", "").split("\n")]
    drawn = [line for line in lines if set(line) & set("▀▄█") and set(line) <= set(BLOCKS)]
    assert drawn, f"no QR code on the terminal:\n{text}"
    width = max(len(line) for line in drawn)
    rows = []
    for line in drawn:
        cells = [BLOCKS[character] for character in line.ljust(width)]
        rows.append([bool(upper) for upper, _ in cells])
        rows.append([bool(lower) for _, lower in cells])
    # Terminals are light on dark as often as not: a finder's corner tells which it is.
    first = next(row for row in rows if any(row))
    if first.count(True) > len(first) * 0.9:
        rows = [[not cell for cell in row] for row in rows]
    return framed(trimmed(rows))


def trimmed(rows):
    """The code alone."""
    used = [index for index, row in enumerate(rows) if any(row)]
    columns = [index for index in range(len(rows[0])) if any(row[index] for row in rows)]
    return [row[columns[0] : columns[-1] + 1] for row in rows[used[0] : used[-1] + 1]]


def framed(rows, quiet=4):
    width = len(rows[0]) + 2 * quiet
    empty = [[False] * width for _ in range(quiet)]
    return empty + [[False] * quiet + row + [False] * quiet for row in rows] + empty


def grey(rows, scale):
    """Lines of bytes, one a pixel."""
    out = []
    for row in rows:
        line = b"".join((b"\x10" if dark else b"\xf0") * scale for dark in row)
        out += [line] * scale
    return out


def write_png(file, rows, scale=7):
    lines = grey(rows, scale)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def write_y4m(file, rows, width=1280, height=720):
    """A film of one picture: the code in the middle, for a camera that is none."""
    scale = min(width, height) // len(rows)
    code = grey(rows, scale)
    left, top = (width - len(code[0])) // 2, (height - len(code)) // 2
    blank = b"\xf0" * width
    lines = [blank] * top + [b"\xf0" * left + line + b"\xf0" * (width - left - len(line)) for line in code]
    lines += [blank] * (height - len(lines))
    colour = b"\x80" * (width * height // 2)
    with open(file, "wb") as film:
        film.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(2):
            film.write(b"FRAME\n" + b"".join(lines) + colour)
