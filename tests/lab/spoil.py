"""Files that are not as they should be: every way in which one may be spoilt, and back again."""

import contextlib
import os
import shutil
import socket
import stat

# Larger than any limit, and no room on the disk.
HUGE = 1 << 30
GARBAGE = b"\x00\xff\xfe garbage \x1b[31m\n{\n}\n[[[\nx\n"


def _aside(path):
    real = path.with_name(path.name + ".real")
    path.rename(real)
    return real


def _link(path):
    path.symlink_to(_aside(path))


def _replaced(make):
    def spoil(path):
        _aside(path)
        make(path)

    return spoil


def _socket(path):
    # By its directory: an address has less room than a path.
    directory = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


WAYS = {
    "garbage": lambda path: path.write_bytes(GARBAGE),
    "huge": lambda path: os.truncate(path, HUGE),
    "a link": _link,
    "a dangling link": _replaced(lambda path: path.symlink_to("/nowhere/at/all")),
    "a link to an endless device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a directory": _replaced(lambda path: path.mkdir(mode=0o755)),
    # Opening one waits for a writer, for ever, unless it is opened with care.
    "a pipe": _replaced(lambda path: os.mkfifo(path, 0o644)),
    "a socket": _replaced(_socket),
    "a device": _replaced(lambda path: os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 5))),
    "somebody else's": lambda path: shutil.chown(path, "bob", "bob"),
    "writable by its group": lambda path: path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o020),
    "writable by everybody": lambda path: path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o002),
    "unreadable": lambda path: (shutil.chown(path, "root", "root"), path.chmod(0)),
}


@contextlib.contextmanager
def spoilt(path, way):
    """The file in that state; afterwards as it was."""
    content, data = path.read_bytes(), path.stat()
    WAYS[way](path)
    try:
        yield
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.with_name(path.name + ".real").unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(stat.S_IMODE(data.st_mode))
        os.chown(path, data.st_uid, data.st_gid)


def untouched(path, way):
    """Something to compare with later: what is there, if it is a file at all."""
    data = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(data.st_mode) and way != "huge" else None
    return stat.S_IFMT(data.st_mode), stat.S_IMODE(data.st_mode), data.st_uid, data.st_size, content
