"""GNOME's keyring: the password that was typed opens it, with our question in between."""

import os
import pwd
import shutil
import signal
import subprocess

import pytest
from lab import accounts, pam, paths
from lab.notifications import BUS
from lab.process import Process, wait_until
from lab.screen import runtime_of
from lab.terminal import Terminal

# Unpacked there by packaging/install-deps: installed, it would become a part of this machine's PAM.
MODULE = next((paths.REPOSITORY / ".build/keyring").glob("**/pam_gnome_keyring.so"), None)
USER = "alice"
SERVICE = "lab-greeter"

pytestmark = pytest.mark.skipif(
    MODULE is None or not shutil.which("gnome-keyring-daemon"), reason="no gnome-keyring and its PAM module: make deps"
)


@pytest.fixture
def runtime(stack):
    """As a greeter's service has it once `countersign enable` was there, and where the user's programs meet."""
    pam.write(
        SERVICE,
        f"auth requisite pam_unix.so\nauth optional {MODULE}\naccount required pam_unix.so\n"
        f"session optional {MODULE} auto_start\n",
    )
    done = subprocess.run(
        [paths.COMMAND, "enable", SERVICE, "--module", paths.MODULE, "--yes", "--no-test"], capture_output=True, text=True,
        env={**os.environ, "SUDO_USER": USER},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (pam.PAM_D / SERVICE).read_text()
    assert lines.index(str(paths.MODULE)) < lines.index(str(MODULE)), lines
    shutil.rmtree(accounts.HOMES / USER / ".local", ignore_errors=True)
    yield runtime_of(USER)
    end_daemon()
    subprocess.run([paths.COMMAND, "disable", "--all"], capture_output=True)


def daemons():
    uid = str(pwd.getpwnam(USER).pw_uid)
    argv = ["pgrep", "-u", uid, "-f", "gnome-keyring-daemon"]
    return [int(pid) for pid in subprocess.run(argv, capture_output=True, text=True).stdout.split()]


def end_daemon():
    for pid in daemons():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not daemons(), 10, "the keyring's daemon has ended")


def logs_in(runtime, phone, answer):
    """At a greeter, as far as PAM sees it; returns whether it opens a session."""
    greeter = Terminal(["pamtester", "-E", f"XDG_RUNTIME_DIR={runtime}", SERVICE, USER, "authenticate", "open_session"])
    before = len(phone.requests())
    greeter.answer_password(accounts.PASSWORDS[USER])
    request = phone.next_request(after=before)
    greeter.answer_code(phone.decide(request, answer).get("code") or "")
    return greeter.finish(20) == 0


class Session:
    """The user's bus, on which the keyring says whether it is open."""

    def __init__(self, directory, runtime):
        listen, config = runtime / "bus", runtime / "bus.conf"
        config.write_text(BUS.format(listen=listen))
        self.settings = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={listen}"]
        argv = accounts.as_user_argv(USER, *self.settings, "dbus-daemon", f"--config-file={config}", "--nofork")
        self.bus = Process("dbus-daemon", argv, directory / "bus.log")
        wait_until(listen.exists, 10, f"the bus; it said:\n{self.bus.log()}")

    def run(self, *argv):
        done = subprocess.run(
            accounts.as_user_argv(USER, *self.settings, *argv), capture_output=True, text=True, timeout=20
        )
        return done.stdout + done.stderr

    def is_locked(self):
        """The keyring of the login; an error where there is none."""
        # It joins the daemon that PAM has started, or becomes one.
        self.run("gnome-keyring-daemon", "--start", "--components=secrets")
        said = self.run(
            "dbus-send", "--print-reply=literal", "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets/collection/login", "org.freedesktop.DBus.Properties.Get",
            "string:org.freedesktop.Secret.Collection", "string:Locked",
        )  # fmt: skip
        words = said.split()
        assert words[-2:-1] == ["boolean"], said
        return words[-1] == "true"


def test_a_password_and_the_code_open_the_keyring(stack, runtime, tmp_path):
    phone = stack.approver(USER)
    session = Session(tmp_path, runtime)
    # The first login makes the keyring, under the password; not the code, which was typed last.
    assert logs_in(runtime, phone, "approve")
    wait_until(daemons, 10, "PAM has started the keyring's daemon")
    assert not session.is_locked()
    end_daemon()
    # Without a login it is closed.
    assert session.is_locked()
    end_daemon()
    assert logs_in(runtime, phone, "approve")
    assert not session.is_locked()
    end_daemon()
    assert not logs_in(runtime, phone, "deny")
    assert not daemons()


def test_a_no_opens_no_keyring_in_a_session_that_is_there(stack, runtime, tmp_path):
    """The keyring's line stands behind ours: whoever knows the password is denied, and alice's programs run."""
    phone = stack.approver(USER)
    session = Session(tmp_path, runtime)
    assert logs_in(runtime, phone, "approve")
    assert not session.is_locked()
    end_daemon()
    assert session.is_locked()
    assert daemons()
    assert not logs_in(runtime, phone, "deny")
    assert session.is_locked()
    # With a yes it would have been open, in the daemon that ran all the time.
    ran = daemons()
    stack.daemon.command("unblock", USER)
    assert logs_in(runtime, phone, "approve")
    assert daemons() == ran
    assert not session.is_locked()
