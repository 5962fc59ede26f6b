"""Leases: one approval by the real native approver, and programs that log in by themselves go on unasked."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from lab import accounts, paths
from lab.accounts import HOMES
from lab.process import wait_until
from lab.ssh import Client
from lab.terminal import Terminal, on_terminal_of

PASSWORD = "alice-password"
ELSEWHERE = "127.0.0.2"
LEASES = Path("/var/lib/countersign/leases.json")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.fixture
def parts(up):
    stack = up(lease="8h")
    sshd = stack.sshd(AuthenticationMethods="publickey")
    return stack, stack.approver("alice"), stack.client(sshd, "alice")


def approve(phone, request, time="8h"):
    """Approves with a lease."""
    phone.send(f"a {request['id']} {time}")
    return phone.wait_for("decided", id=request["id"])


def leased(phone, client, *flags, time="8h"):
    """One ssh login that is approved with a lease."""
    running = client.start("alice", "true", flags=flags)
    request = phone.next_request(after=len(phone.requests()))
    approve(phone, request, time)
    assert running.wait(20) == 0, running.stderr.read()
    return request


def asks(phone, start):
    """Whether a login rings the device; it is killed then."""
    before = len(phone.requests())
    running = start()
    try:
        wait_until(lambda: running.poll() is not None or len(phone.requests()) > before, 20, "an end or a request")
        if len(phone.requests()) == before:
            assert running.returncode == 0, running.stderr.read()
            return False
        request = phone.requests()[before]
    finally:
        running.kill()
    phone.wait_closed(request)
    return True


def run(argv, **environment):
    done = subprocess.run(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def factors(stack):
    return [record.get("factor") for record in stack.daemon.audit() if record["event"] == "login"]


def one_approval(stack, phone):
    """Of all logins so far, as the trail proves."""
    assert len(phone.requests()) == 1
    used = factors(stack)
    assert used[0] == "device" and set(used[1:]) == {"lease"} and len(used) >= 5
    valid = subprocess.run(
        [paths.COMMAND, "audit", "verify", "--json"], capture_output=True, text=True, timeout=30
    )
    assert valid.returncode == 0, valid.stderr
    assert json.loads(valid.stdout)["decisions"] == len(used)


def run_ansible(client, directory):
    out = run(
        ["ansible", "all", "-i", "127.0.0.1,", "-u", "alice", "-m", "ping",
         "-e", "ansible_python_interpreter=/usr/bin/python3"],
        ANSIBLE_SSH_ARGS=f"-F {client.config} -o ControlMaster=no", ANSIBLE_HOME=str(directory / "ansible"),
        ANSIBLE_NOCOLOR="1",
    )  # fmt: skip
    assert '"ping": "pong"' in out


def test_ansible_scp_rsync_and_git_on_one_approval(parts, tmp_path):
    stack, phone, client = parts
    request = leased(phone, client)
    assert request["lease_max"] == 8 * 3600

    letter = tmp_path / "letter"
    letter.write_text("hello")
    run(["scp", "-B", "-F", client.config, letter, "alice@127.0.0.1:letter"])
    assert (HOMES / "alice" / "letter").read_text() == "hello"

    shell = f"ssh -o BatchMode=yes -F {client.config}"
    run(["rsync", "-a", "-e", shell, letter, "alice@127.0.0.1:synced"])
    assert (HOMES / "alice" / "synced").read_text() == "hello"

    repository, clone = HOMES / "alice" / "work.git", tmp_path / "work"
    subprocess.run(accounts.as_user_argv("alice", "git", "init", "-q", "--bare", str(repository)), check=True)
    run(["git", "clone", "-q", f"alice@127.0.0.1:{repository}", clone], GIT_SSH_COMMAND=shell)
    run(["git", "-C", clone, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty",
         "-m", "a"])  # fmt: skip
    run(["git", "-C", clone, "push", "-q", "origin", "HEAD"], GIT_SSH_COMMAND=shell)

    one_approval(stack, phone)
    run_ansible(client, tmp_path)
    one_approval(stack, phone)


@pytest.mark.openssh
def test_it_holds_for_one_address_and_one_key(parts, tmp_path):
    stack, phone, client = parts
    leased(phone, client)
    assert not asks(phone, lambda: client.start("alice", "true"))
    assert asks(phone, lambda: client.start("alice", "true", flags=("-b", ELSEWHERE)))
    other = Client(tmp_path / "other", client.sshd)
    accounts.authorize_key("alice", client.public_key + other.public_key)
    assert asks(phone, lambda: other.start("alice", "true"))
    assert not asks(phone, lambda: client.start("alice", "true"))


def test_it_is_over_after_revocation(parts):
    stack, phone, client = parts
    leased(phone, client)
    second = stack.approver("alice", "second")
    stack.daemon.command("revoke", "alice", "phone")
    assert asks(second, lambda: client.start("alice", "true"))
    assert stack.daemon.command("leases")["leases"] == []


def test_a_denial_ends_it(parts):
    stack, phone, client = parts
    leased(phone, client)
    running = client.start("alice", "true", flags=("-b", ELSEWHERE))
    phone.decide(phone.next_request(after=1), "deny")
    assert running.wait(20) != 0
    assert stack.daemon.command("leases")["leases"] == []
    assert "lease-ended" in [record["event"] for record in stack.daemon.audit()]


def test_it_survives_a_restart_and_not_a_reboot(parts, tmp_path):
    stack, phone, client = parts
    leased(phone, client)
    assert LEASES.stat().st_mode & 0o777 == 0o600

    def again():
        stack.daemon.stop()
        stack.daemon.start()
        wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is connected")

    again()
    assert not asks(phone, lambda: client.start("alice", "true"))
    # As the kernel would say after one; in this mount namespace alone.
    other = tmp_path / "boot_id"
    other.write_text("00000000-1111-2222-3333-444444444444\n")
    other.chmod(0o444)
    subprocess.run(["mount", "--bind", other, BOOT_ID], check=True)
    try:
        again()
        assert asks(phone, lambda: client.start("alice", "true"))
    finally:
        subprocess.run(["umount", BOOT_ID], check=True)


def test_uses_are_counted(up):
    # Its daemon writes inline tables as JSON does not.
    stack = up(lease=None)
    config = stack.daemon.config.read_text() + 'lease = { up_to = "1h", uses = 2 }\n'
    stack.daemon.write_config(config)
    stack.daemon.reload()
    sshd, phone = stack.sshd(AuthenticationMethods="publickey"), stack.approver("alice")
    client = stack.client(sshd, "alice")
    assert leased(phone, client)["lease_uses"] == 2
    for _ in range(2):
        assert not asks(phone, lambda: client.start("alice", "true"))
    assert asks(phone, lambda: client.start("alice", "true"))


@pytest.mark.parametrize(("offline", "opens"), [([], False), (["lease"], True)])
def test_without_the_server_only_where_the_rule_says_so(up, offline, opens):
    stack = up(lease="1h", offline=offline, wait="5s")
    sshd, phone = stack.sshd(AuthenticationMethods="publickey"), stack.approver("alice")
    client = stack.client(sshd, "alice")
    leased(phone, client)
    stack.server.stop()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon has lost its server")
    done = client.batch("alice", "true")
    assert (done.returncode == 0) == opens, done.stderr


def sudo(shell, *words):
    """Runs sudo -k at a shell's prompt, answers the password, and gives what it says then."""
    shell.send(f"sudo -k {' '.join(words)}; echo END-$?")
    shell.answer_password(PASSWORD)


def shell_of(user):
    # A terminal of its own makes it a session leader, as a login shell is.
    shell = Terminal(accounts.as_user_argv(user, "bash", "--norc", "-i"))
    shell.expect(r"\$ $")
    return shell


@pytest.mark.openssh
def test_sudo_in_one_terminal_and_not_in_another(parts):
    stack, phone, _ = parts
    shell = shell_of("alice")
    sudo(shell, "id", "-u")
    request = phone.next_request()
    shell.answer_code(approve(phone, request)["code"])
    shell.expect(r"END-0")
    sudo(shell, "whoami")
    shell.expect(r"root\r\nEND-0")
    assert len(phone.requests()) == 1
    assert factors(stack) == ["device", "lease"]
    listed = stack.daemon.command("leases", "alice")["leases"]
    assert [(one["user"], one["service"], one["used"]) for one in listed] == [("alice", "sudo", 1)]

    other = shell_of("alice")
    sudo(other, "whoami")
    phone.next_request(after=1)
    other.interrupt()
    other.expect(r"END-1")


def test_a_user_ends_their_own(parts):
    stack, phone, client = parts
    leased(phone, client)
    listed = on_terminal_of("alice", paths.COMMAND, "leases")
    assert listed.finish() == 0 and "sshd" in listed.text and "127.0.0.1" in listed.text
    others = on_terminal_of("alice", paths.COMMAND, "leases", "bob")
    assert others.finish() == 4
    none = on_terminal_of("bob", paths.COMMAND, "leases", "--end", "all")
    assert none.finish() == 0
    assert not asks(phone, lambda: client.start("alice", "true"))
    identity = stack.daemon.command("leases")["leases"][0]["id"]
    ended = on_terminal_of("alice", paths.COMMAND, "leases", "--end", identity[:8])
    assert ended.finish() == 0, ended.text
    assert asks(phone, lambda: client.start("alice", "true"))
