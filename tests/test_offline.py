"""No server: the QR code on the terminal, authenticators, codes of root's, and what may not happen with them."""

import os
import random
import re
import subprocess
import threading
import time

import pytest
from lab import challenge, pam, paths
from lab.daemon import STATE
from lab.peer import Peer, login
from lab.process import wait_until
from lab.terminal import Terminal, on_terminal_of

PASSWORD = "alice-password"
OFFLINE = ["phone-code", "totp", "recovery"]


@pytest.fixture
def parts(up):
    stack = up(codes=[], offline=OFFLINE)
    phone = stack.approver("alice")
    return stack, phone


def cut(stack):
    stack.server.stop()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon notices")


def qr_code(screen, directory):
    """Waits for the code and its prompt; what a camera reads, and the screen as the person sees it."""
    screen.expect(challenge.ABOVE)
    before = len(screen.text)
    screen.expect(challenge.BELOW)
    shown = screen.text[before:]
    bytes_read, rows = challenge.scan(shown, directory)
    # The whole of it stands on a plain terminal with its prompt: nothing has scrolled away.
    assert max(len(row) for row in rows) <= 80
    lines = [line for line in shown.replace("\r", "").split("\n")]
    assert len(rows) + 1 + sum(-(-max(len(line), 1) // 80) for line in lines[len(rows):]) <= 24, shown
    return bytes_read


@pytest.mark.openssh
def test_ssh_by_the_qr_code_of_the_terminal(parts, tmp_path):
    stack, phone = parts
    client = stack.client(stack.sshd())
    phone.stop()
    cut(stack)
    session = client.login("alice", "id", "-un")
    session.answer_password(PASSWORD)
    scanned = qr_code(session, tmp_path)
    assert b"alice" in scanned and b"sshd" in scanned and b"127.0.0.1" in scanned
    code = challenge.code(phone, scanned)
    session.send(f"{code[:4]} {code[4:]}")
    assert session.finish() == 0
    assert session.lines()[-1] == "alice"
    [record] = [record for record in stack.daemon.audit() if record.get("factor") == "phone-code"]
    assert record["outcome"] == "granted" and record["device"].startswith("SHA256:")
    # Of another login it is nothing.
    session = client.login("alice", "true")
    session.answer_password(PASSWORD)
    qr_code(session, tmp_path)
    session.send(code)
    session.expect(r"That is not the code, 2 tries left\.")
    session.kill()


@pytest.mark.openssh
def test_sudo_shows_the_qr_code_though_it_wants_silence(parts, tmp_path):
    stack, phone = parts
    phone.stop()
    cut(stack)
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    sudo.send(challenge.code(phone, qr_code(sudo, tmp_path)))
    assert sudo.finish() == 0
    assert sudo.lines()[-1] == "0"


def test_login_on_a_console(parts, tmp_path):
    stack, phone = parts
    phone.stop()
    cut(stack)
    before = (pam.PAM_D / "login").read_text()
    pam.write("login", pam.lines(auth=True, session=False))
    try:
        console = Terminal(["/bin/login", "alice"], timeout=15)
        console.answer_password(PASSWORD)
        console.send(challenge.code(phone, qr_code(console, tmp_path)))
        console.expect(r"\$ ?$")
        console.send("id -un; exit")
        console.finish()
        assert "alice" in console.lines()
    finally:
        pam.write("login", before)
    [record] = [record for record in stack.daemon.audit() if record.get("factor") == "phone-code"]
    assert record["service"] == "login"


def test_an_approver_that_says_no_or_never_was_paired_gives_no_code(parts, tmp_path):
    stack, phone = parts
    stranger = stack.approver("bob", "other")
    phone.stop()
    stranger.stop()
    cut(stack)
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORD)
    scanned = qr_code(sudo, tmp_path)
    assert challenge.code(phone, scanned, "no", check=False).returncode == 1
    # The device of somebody else on this host has a code for it, which is nobody's here.
    sudo.send(challenge.code(stranger, scanned))
    sudo.expect(r"That is not the code, 2 tries left\.")
    # Neither has one that is altered.
    altered = scanned.replace(b"alice", b"alicf")
    sudo.send(challenge.code(phone, altered))
    sudo.expect(r"That is not the code, 1 try left\.")
    sudo.send(challenge.code(phone, scanned))
    assert sudo.finish() == 0


def test_a_login_that_began_offline_rings_when_the_server_is_back(parts, tmp_path):
    stack, phone = parts
    client = stack.client(stack.sshd())
    cut(stack)
    session = client.login("alice", "id", "-un")
    session.answer_password(PASSWORD)
    session.expect(challenge.BELOW)
    stack.server.start()
    request = phone.next_request(seconds=20)
    code = phone.approve(request)
    session.send("")
    session.expect(r"Type the code that your phone shows: ?$")
    session.send(code)
    assert session.finish() == 0
    assert phone.wait_closed(request)["outcome"] == "approved"


def test_a_yes_that_cannot_be_sent_is_eight_digits_to_type(parts):
    stack, phone = parts
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    request = phone.next_request()
    cut(stack)
    phone.decide(request, "approve")
    said = re.compile(r"type (\d{4} \d{4}) at the login instead")
    wait_until(lambda: any(said.search(e["message"]) for e in phone.all("notice")), 15, "the phone's eight digits")
    [code, *_] = [found[1] for e in phone.all("notice") if (found := said.search(e["message"]))]
    # The prompt that is out knows nothing of this yet; Enter shows what holds now.
    sudo.send("")
    sudo.expect(challenge.BELOW)
    sudo.send(code)
    assert sudo.finish() == 0
    assert sudo.lines()[-1] == "0"


def secret(stack):
    return stack.daemon.command("codes", "alice", "--totp")["secret"]


def oath(key, at=None):
    """The code of another implementation."""
    now = ["--now", f"@{at}"] if at else []
    return subprocess.run(
        ["oathtool", "--totp", "-b", key, *now], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_an_authenticators_code_opens_once(parts):
    stack, _ = parts
    client = stack.client(stack.sshd())
    key = secret(stack)
    assert (STATE / "totp.json").stat().st_mode & 0o777 == 0o600
    cut(stack)
    code = oath(key)
    for expected in (0, None):
        session = client.login("alice", "echo", "in")
        session.answer_password(PASSWORD)
        session.expect(challenge.BELOW)
        session.send(code)
        if expected is None:
            session.expect(r"That is not the code, 2 tries left\.")
            session.kill()
        else:
            assert session.finish() == expected
    grants = [record for record in stack.daemon.audit() if record.get("outcome") == "granted"]
    assert [record["factor"] for record in grants if record["stage"] == "auth"] == ["totp"]
    stack.daemon.command("audit", "verify")


def outcome(typed, peer=None):
    """A login by the socket of PAM's module with this one answer: its outcome, None where it is asked again."""

    def step(call):
        peer.send(call)
        reply = peer.receive(seconds=20)
        return reply["parameters"] if reply else {"step": "gone"}

    with peer or Peer() as peer:
        said = step(login())
        while said["step"] == "say":
            said = step(login("Continue"))
        if said["step"] == "ask":
            said = step(login("Continue", answer=typed))
        return said.get("outcome")


@pytest.fixture
def typing(up):
    """Where every typed factor is taken at any time. Whoever has no tries left waits for the phone, and not for long."""
    return up(codes=["totp", "recovery"], wait="8s")


def new_code(stack, kind):
    """A code that opens now."""
    if kind == "totp":
        return oath(secret(stack))
    if kind == "once":
        return stack.daemon.command("codes", "alice", "--once", "1h", "--reason", "a test")["code"]
    return stack.daemon.command("codes", "alice", "--recovery")["codes"][0]


@pytest.mark.parametrize("kind", ["totp", "once", "recovery"])
def test_of_twenty_who_type_one_code_at_once_one_is_let_in(typing, kind):
    stack = typing
    stack.approver("alice")
    code = new_code(stack, kind)
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(outcome(code))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count("granted") == 1, ends
    grants = [record for record in stack.daemon.audit() if record.get("outcome") == "granted"]
    assert [record["factor"] for record in grants] == [kind]


@pytest.mark.parametrize("kind", ["totp", "once", "recovery"])
def test_a_daemon_that_is_killed_at_any_moment_takes_no_code_twice(typing, kind):
    """Killed at some moment after the code has arrived: whoever was let in before is the only one."""
    stack = typing
    stack.approver("alice")
    chance = random.Random(kind)
    # About as long as it takes: a slow hash, or none.
    longest = 0.003 if kind == "totp" else 0.12
    first, second = [], []
    for _ in range(int(os.environ.get("COUNTERSIGN_ROUNDS", "12"))):
        code = new_code(stack, kind)
        peer = Peer()
        peer.send(login())
        assert peer.receive()["parameters"]["step"] == "ask"
        peer.send(login("Continue", answer=code))
        time.sleep(chance.uniform(0, longest))
        stack.daemon.kill()
        try:
            answer = peer.receive()
        except AssertionError:
            answer = None  # cut off in the middle: the module takes that for no answer
        peer.socket.close()
        was_let_in = bool(answer) and answer["parameters"].get("outcome") == "granted"
        # What was counted against the person is not what this is about.
        (STATE / "budget.json").unlink(missing_ok=True)
        stack.daemon.start()
        again = outcome(code) == "granted"
        assert not (was_let_in and again), f"{kind} twice"
        first.append(was_let_in)
        second.append(again)
    print(f"{kind}: let in before the end {sum(first)}, after it {sum(second)}, never {len(first) - sum(first) - sum(second)}")


def test_no_clock_that_is_set_brings_an_authenticators_code_back(typing):
    stack = typing
    stack.approver("alice")
    key, now = secret(stack), int(time.time())
    assert outcome(oath(key)) == "granted"
    # Set back: what was good then, and was not typed then, is over.
    stack.daemon.stop()
    stack.daemon.start(clock="-10m")
    assert outcome(oath(key, now - 600)) is None
    # Set forward: good. Set right again: nothing before that is.
    stack.daemon.stop()
    stack.daemon.start(clock="+2h")
    assert outcome(oath(key, int(time.time()) + 7200)) == "granted"
    stack.daemon.stop()
    stack.daemon.start()
    assert outcome(oath(key)) is None


def test_a_code_for_a_while_ends_and_no_clock_brings_it_back(typing):
    stack = typing
    stack.approver("alice")
    made = stack.daemon.command("codes", "alice", "--once", "1h", "--reason", "the phone is at home")
    assert made["ends_at"] - time.time() == pytest.approx(3600, abs=60)
    for clock in ("+2h", None, "-30m"):
        stack.daemon.stop()
        stack.daemon.start(clock=clock)
        assert outcome(made["code"]) is None, clock
    stack.daemon.stop()
    stack.daemon.start()
    code = new_code(stack, "once")
    assert outcome(code) == "granted"
    made, used = [record for record in stack.daemon.audit() if "a test" in record.get("reason", "")]
    assert made["event"] == "once-code" and used["factor"] == "once"


def test_only_root_makes_codes(typing):
    for words in (["--totp"], ["--once", "1h", "--reason", "me"]):
        argv = [paths.COMMAND, "codes", "alice", *words]
        done = subprocess.run(["setpriv", "--reuid", "alice", "--clear-groups", "--", *map(str, argv)], capture_output=True)
        assert done.returncode == 4, done.stderr


CONSOLE = """server = "{origin}"
host_name = "lab"
[[rule]]
name = "console"
when = {{ service = "login", user = "alice", remote = false }}
then = "approve"
offline = [{{ allow_until = 2099-01-01 }}]
codes = []
"""


def test_named_people_at_the_machine_are_let_in_after_a_minute_without_a_server(up):
    stack = up()
    stack.approver("alice")
    stack.daemon.write_config(CONSOLE.format(origin=stack.daemon.origin))
    stack.daemon.stop()
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "it connects")

    def at(**fields):
        with Peer() as peer:
            peer.send(login(service="login", **fields))
            return peer.receive(seconds=10)["parameters"]

    assert at()["step"] == "ask", "the server is there"
    gone = time.monotonic()
    cut(stack)
    assert at()["outcome"] == "unreachable", "for a moment"
    time.sleep(max(0, 62 - (time.monotonic() - gone)))
    for other in ({"user": "bob"}, {"remote_host": "192.0.2.7"}, {"user": "nobody-here"}, {"stage": "session"}):
        said = at(**other)
        assert said.get("outcome") != "granted", other
    assert at()["outcome"] == "granted"
    record = stack.daemon.audit()[-1]
    assert record["factor"] == "allow" and "without any factor" in record["reason"]
    stack.server.start()
    wait_until(lambda: stack.daemon.status()["connected"], 90, "it is back")
    assert at()["step"] == "ask"
