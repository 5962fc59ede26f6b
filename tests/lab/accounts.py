"""The people of the private host."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

HOMES = Path("/run/lab/home")
# Members get in past Countersign, by their own PAM line.
BREAK_GLASS = "countersign-breakglass"
PASSWORDS = {"demo": "demo-password", "alice": "alice-password", "bob": "bob-password", "rescue": "rescue-password"}


def _run(*argv, **options):
    subprocess.run(argv, check=True, capture_output=True, text=True, **options)


def create():
    """Makes the accounts: demo, alice and bob (sudoers), and rescue of the break-glass group."""
    HOMES.mkdir(parents=True, exist_ok=True)
    _run("groupadd", "--system", BREAK_GLASS)
    _run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "countersign")
    for user, password in PASSWORDS.items():
        groups = ["--groups", BREAK_GLASS] if user == "rescue" else []
        _run("useradd", "--no-create-home", "--home-dir", str(HOMES / user), "--shell", "/bin/bash", *groups, user)
        _run("chpasswd", input=f"{user}:{password}\n")
        reset_home(user)
    sudoers = Path("/etc/sudoers.d/lab")
    sudoers.write_text("demo ALL=(ALL) ALL\nalice ALL=(ALL) ALL\nbob ALL=(ALL) ALL\nDefaults lecture=never\n")
    sudoers.chmod(0o440)


def reset_home(user):
    """An empty home directory."""
    home = HOMES / user
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    entry = pwd.getpwnam(user)
    os.chown(home, entry.pw_uid, entry.pw_gid)


def authorize_key(user, public_key):
    """Lets an ssh key log in as the user."""
    entry = pwd.getpwnam(user)
    directory = HOMES / user / ".ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    file = directory / "authorized_keys"
    file.write_text(public_key)
    for path in (directory, file):
        os.chown(path, entry.pw_uid, entry.pw_gid)


def as_user(user):
    """subprocess options that run a program as the user, as setpriv would."""
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def as_user_argv(user, *argv):
    """The command line that runs a program as the user with that user's environment."""
    home = HOMES / user
    return [
        "setpriv", "--reuid", user, "--regid", user, "--init-groups",
        "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={home}", f"USER={user}", f"LOGNAME={user}",
        "LANG=C.UTF-8", "TERM=dumb", *argv,
    ]  # fmt: skip
