"""ssh with a key alone: sshd skips PAM's auth, so the gate is the session stage, and the answer is a tap."""

import socket
import subprocess
import time

import pytest
from lab.accounts import HOMES
from lab.process import free_port, wait_until

pytestmark = pytest.mark.openssh


@pytest.fixture
def parts(stack):
    sshd = stack.sshd(AuthenticationMethods="publickey")
    return stack, stack.approver("alice"), stack.client(sshd, "alice"), sshd


def finish(process, timeout=20):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def test_a_command_runs_after_a_tap(parts):
    _, phone, client, _ = parts
    running = client.start("alice", "id", "-un")
    request = phone.next_request()
    assert request["confirm"] == "tap"
    assert request["ssh_key"] == {"fingerprint": client.fingerprint(), "type": "ssh-ed25519"}
    assert phone.approve(request) is None
    assert finish(running)[:2] == (0, "alice\n")
    assert phone.wait_closed(request)["outcome"] == "approved"


def test_a_denied_command_does_not_run(parts):
    _, phone, client, _ = parts
    mark = HOMES / "alice" / "mark"
    running = client.start("alice", f"touch {mark}")
    phone.decide(phone.next_request(), "deny")
    code, out, err = finish(running)
    assert code == 254
    # sshd hands the reason over as the command's output.
    assert "Denied on the phone" in out + err
    assert not mark.exists()


def test_a_shell_on_a_terminal(parts):
    _, phone, client, _ = parts
    login = client.login("alice", method="publickey", flags=["-tt"])
    phone.approve(phone.next_request())
    login.expect(r"\$ ?$")
    login.send("echo uid=$(id -u); exit 7")
    assert login.finish() == 7


def test_a_denied_shell(parts):
    _, phone, client, _ = parts
    login = client.login("alice", method="publickey", flags=["-tt"])
    phone.decide(phone.next_request(), "deny")
    assert login.finish() == 254
    assert "denied" in login.text.lower(), login.text


def sftp(client, answer, phone):
    argv = ["sftp", "-q", "-b", "-", *client.options("publickey"), "alice@127.0.0.1"]
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdin.write("pwd\n")
    running.stdin.close()
    running.stdin = None
    phone.decide(phone.next_request(), answer)
    return finish(running)


def test_sftp(parts):
    _, phone, client, _ = parts
    code, out, _ = sftp(client, "approve", phone)
    assert code == 0
    assert "/run/lab/home/alice" in out


def test_denied_sftp(parts):
    _, phone, client, _ = parts
    code, out, _ = sftp(client, "deny", phone)
    assert code != 0
    assert "/run/lab/home/alice" not in out


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_stdio_forwarding(parts, answer):
    """-W: what comes out of the tunnel is the banner of sshd itself."""
    _, phone, client, sshd = parts
    running = client.start("alice", flags=["-W", f"127.0.0.1:{sshd.port}"])
    phone.decide(phone.next_request(), answer)
    if answer == "approve":
        assert running.stdout.readline().startswith("SSH-2.0-")
        running.kill()
    else:
        code, out, _ = finish(running)
        assert code != 0
        assert out == ""


def banner(port, seconds):
    """What a connection to the port reads first; nothing when it is closed or silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.settimeout(seconds)
        try:
            return connection.recv(100).decode()
        except (ConnectionError, TimeoutError):
            return ""


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("answer", ["approve", "deny"])
@pytest.mark.parametrize("flags", [["-N"], []], ids=["no-command", "with-command"])
def test_local_forwarding(parts, answer, flags):
    _, phone, client, sshd = parts
    port = free_port()
    command = [] if flags else ["sleep", "30"]
    running = client.start("alice", *command, flags=[*flags, "-L", f"{port}:127.0.0.1:{sshd.port}"])
    phone.decide(phone.next_request(), answer)
    if answer == "approve":
        wait_until(lambda: listens(port), 5, "the forwarded port")
        assert banner(port, 5).startswith("SSH-2.0-")
    else:
        # ssh listens by itself before it knows; nothing may come through.
        time.sleep(1)
        if running.poll() is None and listens(port):
            assert banner(port, 3) == ""
    running.kill()


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_remote_forwarding(parts, answer):
    _, phone, client, sshd = parts
    port = free_port()
    running = client.start("alice", flags=["-N", "-R", f"{port}:127.0.0.1:{sshd.port}"])
    phone.decide(phone.next_request(), answer)
    if answer == "approve":
        wait_until(lambda: listens(port), 5, "the forwarded port")
    else:
        time.sleep(1.5)
        assert not listens(port)
    running.kill()


def test_nobody_decides(up):
    stack = up(wait="5s")
    sshd, phone = stack.sshd(AuthenticationMethods="publickey"), stack.approver("alice")
    running = stack.client(sshd, "alice").start("alice", "echo", "in")
    request = phone.next_request()
    code, out, _ = finish(running)
    assert code == 254
    assert "in" not in out.splitlines()
    assert phone.wait_closed(request)["outcome"] == "expired"


def test_refused_where_the_policy_wants_no_tap(up):
    stack = up(without_prompt="refuse")
    sshd, phone = stack.sshd(AuthenticationMethods="publickey"), stack.approver("alice")
    code, out, err = finish(stack.client(sshd, "alice").start("alice", "echo", "in"))
    assert code == 254
    assert "in" not in out.splitlines()
    assert phone.requests() == []
    assert (out + err).strip(), "the person is told why"


@pytest.mark.quiet
def test_killing_ssh_withdraws_the_prompt_within_a_second(parts):
    _, phone, client, _ = parts
    running = client.start("alice", "true")
    request = phone.next_request()
    killed = time.monotonic()
    running.kill()
    closed = phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn"
    assert closed["seen"] - killed < 1.0


def test_a_break_glass_account_is_not_asked(stack):
    sshd = stack.sshd(AuthenticationMethods="publickey")
    client = stack.client(sshd, "rescue")
    done = client.batch("rescue", "id", "-un")
    assert (done.returncode, done.stdout) == (0, "rescue\n")
