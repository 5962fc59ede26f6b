"""Small programs in C that play an attacker's part, built where every account can read them."""

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = Path("/run/lab/tools")


def build(source, target=None):
    """The program or PAM module of that source, built once."""
    BUILT.mkdir(exist_ok=True)
    shared = ["-shared", "-fPIC"] if source.startswith("pam_") else []
    target = BUILT / (target or source.replace(".c", ".so" if shared else ""))
    if not target.exists():
        argv = ["cc", "-Wall", "-Wextra", "-Werror", *shared, "-o", target, SOURCES / source, "-lpam", "-lpthread"]
        subprocess.run([str(word) for word in argv], check=True, capture_output=True)
    return target


def set_uid(source, owner):
    """A copy of the program that runs with its owner's rights, whoever starts it."""
    program = build(source, f"{source.removesuffix('.c')}-of-{owner}")
    shutil.chown(program, owner, "root")
    program.chmod(0o4755)
    return program
