"""A machine that people share, as docs/shared-workstations.md sets it up: its group, its policy, its PAM lines."""

import re
import subprocess

from . import pam, paths
from .process import wait_until

DOCUMENT = paths.REPOSITORY / "docs" / "shared-workstations.md"
GROUP = "ward"
PEOPLE = ("alice", "bob")
REST = "account required pam_unix.so\nsession required pam_unix.so\n"
PASSWORD_LINE = "@include common-auth\n"


def block(name):
    """A file as the document has it: the block whose first line names it."""
    found = re.search(rf"^```[a-z]*\n# {re.escape(name)}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{DOCUMENT.name} has no {name}"
    return found.group(1)


def auth():
    """The document's PAM lines, with the module that was built here."""
    return block("/etc/pam.d/").replace("pam_countersign.so", str(paths.MODULE))


def join():
    """alice and bob are of the ward; demo is not."""
    subprocess.run(["groupadd", "--system", GROUP], check=True)
    for user in PEOPLE:
        subprocess.run(["gpasswd", "--add", user, GROUP], check=True, capture_output=True)


def leave():
    subprocess.run(["groupdel", GROUP], check=True)


def guard(service):
    """The document's lines in place of the password's; the rest of a file that is there stays."""
    file = pam.PAM_D / service
    text = file.read_text() if file.exists() else ""
    if PASSWORD_LINE in text:
        file.write_text(text.replace(PASSWORD_LINE, auth()))
    else:
        file.write_text(auth() + REST)


def rule(stack):
    """The document's policy, above the daemon's own."""
    stack.daemon.write_config(stack.daemon.config.read_text() + block("/etc/countersign/countersign.toml.d/ward.toml"))
    stack.daemon.reload()
    wait_until(lambda: "ward desks" in explained(), 10, "the daemon has the rules")


def explained():
    argv = ["policy", "explain", "--user", "alice", "--service", "login"]
    done = subprocess.run([paths.COMMAND, *argv], capture_output=True, text=True, timeout=20)
    return done.stdout
