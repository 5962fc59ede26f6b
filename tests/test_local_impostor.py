"""Somebody else's socket, link or file where the daemon's socket belongs: it is not spoken to, and nobody is let in."""

import os
import shutil
import socket
import subprocess
import time

import pytest
from lab import pam
from lab.accounts import HOMES, as_user_argv
from lab.daemon import RUN
from lab.process import wait_until

# As bob: listens there and grants whatever it is asked, and says what it heard.
IMPOSTOR = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(100)
print("listening", flush=True)
while True:
    caller = listener.accept()[0]
    heard = b""
    try:
        caller.sendall(b'{"parameters":{"step":"verdict","outcome":"granted"}}\\0')
        heard = caller.recv(65536)
    except OSError:
        pass
    print("heard", len(heard), "bytes", flush=True)
"""


class Impostor:
    def __init__(self, path, log):
        self.path, self.log = path, log
        argv = as_user_argv("bob", "/usr/bin/python3", "-c", IMPOSTOR, str(path))
        with open(log, "wb") as out:
            self.popen = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
        wait_until(lambda: "listening" in log.read_text(), 5, f"the impostor listens; {log.read_text()}")

    def heard(self):
        """How many bytes came, a caller each."""
        return [int(line.split()[1]) for line in self.log.read_text().splitlines() if line.startswith("heard")]

    def stop(self):
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def place(stack, tmp_path):
    """A running system with its socket put aside, and bob's daemon in his home."""
    stack.approver("alice")
    impostor = Impostor(HOMES / "bob" / "pam.sock", tmp_path / "impostor")
    yield stack, impostor
    impostor.stop()
    for path in (RUN, RUN.with_name("countersign.aside")):
        if path.is_symlink():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)


def aside(how):
    """Puts something else where root's socket was."""
    real, theirs = RUN / "pam.sock", HOMES / "bob" / "pam.sock"
    real.rename(RUN / "real.sock")
    match how:
        case "a link to bob's socket":
            real.symlink_to(theirs)
        case "a link to the real socket":
            real.symlink_to(RUN / "real.sock")
        case "bob's socket itself":
            os.link(theirs, real)
        case "bob's listener on an inode of root's":
            os.link(theirs, real)
            os.chown(real, 0, 0)
        case "a file":
            real.write_text("")
        case "a pipe":
            os.mkfifo(real, 0o666)
        case "a directory":
            real.mkdir()
        case "a socket that nobody listens on":
            dead = socket.socket(socket.AF_UNIX)
            dead.bind(str(real))
            dead.close()
        case "nothing":
            pass


def aside_directory(how):
    """Puts another directory where root's was."""
    match how:
        case "a link to bob's directory":
            RUN.rename(RUN.with_name("countersign.aside"))
            (HOMES / "bob").chmod(0o755)
            RUN.symlink_to(HOMES / "bob")
        case "a link to the real directory":
            RUN.rename(RUN.with_name("countersign.aside"))
            RUN.symlink_to(RUN.with_name("countersign.aside"))
        case "bob's directory":
            shutil.chown(RUN, "bob", "bob")
        case "one that everybody may write":
            RUN.chmod(0o1777)
        case "one that its group may write":
            RUN.chmod(0o775)
        case "a file":
            RUN.rename(RUN.with_name("countersign.aside"))
            RUN.write_text("")


SOCKETS = [
    "a link to bob's socket", "a link to the real socket", "bob's socket itself", "bob's listener on an inode of root's",
    "a file", "a pipe", "a directory", "a socket that nobody listens on", "nothing",
]  # fmt: skip
DIRECTORIES = [
    "a link to bob's directory", "a link to the real directory", "bob's directory", "one that everybody may write",
    "one that its group may write", "a file",
]  # fmt: skip


def refused_at_once(how):
    for service in ("sudo", "su"):
        # pam_unix would have every failure wait two seconds.
        pam.write(service, pam.lines(auth=True, session=False).replace("pam_unix.so", "pam_unix.so nodelay", 1))
    # su takes a second more to fail, so it is spared the lesser cases.
    su = [["su", "alice", "-c", "echo ran"]] if "bob" in how else []
    for argv in (["sudo", "-k", "-S", "echo", "ran"], *su):
        started = time.monotonic()
        done = subprocess.run(as_user_argv("alice", *argv), input="alice-password\n", capture_output=True, text=True, timeout=10)
        assert done.returncode != 0 and "ran" not in done.stdout, how
        assert time.monotonic() - started < 3, how


def restore(stack):
    """The real sockets again, by a new start of the daemon."""
    stack.daemon.stop()
    for path in (RUN, RUN.with_name("countersign.aside")):
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in ("pam.sock", "self.sock"):
        if (HOMES / "bob" / name).is_symlink():
            (HOMES / "bob" / name).unlink()
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is connected again")


def named(syslog, mark):
    return [line for line in syslog.lines("pam_countersign", after=mark) if str(RUN) in line]


def test_su_and_sudo_speak_to_nobody_but_the_daemon(place, syslog):
    stack, impostor = place
    for change, ways in ((aside, SOCKETS), (aside_directory, DIRECTORIES)):
        for how in ways:
            mark = syslog.mark()
            change(how)
            refused_at_once(how)
            # What reads the log here may lag behind.
            wait_until(lambda mark=mark: named(syslog, mark), 5, f"{how}: the log names the place")
            if change is aside:
                if (RUN / "pam.sock").is_dir() and not (RUN / "pam.sock").is_symlink():
                    (RUN / "pam.sock").rmdir()
                (RUN / "real.sock").rename(RUN / "pam.sock")
                if how == "bob's listener on an inode of root's":
                    shutil.chown(impostor.path, "bob", "bob")
            else:
                restore(stack)
    # Whom root's inode leads to him only says hello: who listens is seen once connected, and then not a byte is sent.
    assert set(impostor.heard()) == {0}


def test_the_daemon_binds_nothing_where_others_could_put_things(place):
    """Nor does root, on its way to the socket, change the mode of what a link leads to."""
    stack, impostor = place
    impostor.stop()
    target = HOMES / "bob" / "target"
    target.write_text("precious")
    target.chmod(0o600)
    for how in DIRECTORIES:
        for planted in (False, True):
            stack.daemon.stop()
            aside_directory(how)
            for name in ("pam.sock", "self.sock"):
                if RUN.is_dir():
                    (RUN / name).unlink(missing_ok=True)
                    if planted:
                        (RUN / name).symlink_to(target)
            stack.daemon.process.log_path.write_text("")
            stack.daemon.start(expect_ready=False)
            wait_until(lambda: not stack.daemon.process.alive(), 5, f"{how}: the daemon has given up")
            said = stack.daemon.process.log()
            assert len(said.splitlines()) == 1 and f"{RUN}: " in said, f"{how}: {said}"
            assert target.stat().st_mode & 0o777 == 0o600 and target.read_text() == "precious"
            restore(stack)
