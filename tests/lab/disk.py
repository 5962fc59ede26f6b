"""A small disk that can be full: a tmpfs over a directory of the private host."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PAGE = 4096


class Disk:
    """Takes a directory's place, with its content, owner and mode."""

    def __init__(self, path, pages=256):
        self.path = Path(path)
        data = self.path.stat()
        with tempfile.TemporaryDirectory(dir="/run/lab") as kept:
            shutil.copytree(self.path, f"{kept}/copy", symlinks=True)
            options = f"size={pages * PAGE},mode={data.st_mode & 0o7777:o},uid={data.st_uid},gid={data.st_gid}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True)
            subprocess.run(["cp", "-a", f"{kept}/copy/.", self.path], check=True)
            # copytree keeps no owners.
            subprocess.run(["chown", "-R", f"{data.st_uid}:{data.st_gid}", self.path], check=True)
        self.filler = self.path / "filler"

    def fill(self, leave=0):
        """Fills it, but for so many pages."""
        self.empty()
        filler = os.open(self.filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(filler, b"x" * PAGE)
        os.close(filler)
        if leave:
            os.truncate(self.filler, max(0, self.filler.stat().st_size - leave * PAGE))

    def empty(self):
        self.filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self):
        """Nothing new can be written there; what is open already still can."""
        subprocess.run(["mount", "--bind", self.path, self.path], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.path], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", self.path], check=True)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)
