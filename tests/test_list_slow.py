"""A long list on a slow line: it arrives or is refused, and nobody else's login notices."""

import subprocess
import time

import pytest
from lab import paths
from lab.narrow import Narrow
from lab.process import wait_until

MOST = 256 * 1024
TEXT = ("".join(f"install package-{n} 1.{n}\n" for n in range(20000)))[: MOST - 1] + "\n"
# What is said where the server counts as gone, or a connection to it.
SHAKEN = ("the server is gone", "another one is in its place", "cannot be reached", "the connection to the server broke")


@pytest.fixture
def narrow(up):
    """Starts everything behind a line of that rate."""
    lines = []

    def start(rate, **default):
        lines.append(Narrow(rate))
        stack = up(server={"port": lines[-1].target, "origin": lines[-1].origin}, **default)
        return lines[-1], stack

    yield start
    for line in lines:
        line.stop()


def ask_with_list(tmp_path):
    path = tmp_path / "list"
    path.write_text(TEXT)
    words = ["ask", "--action", "deploy.web", "--user", "alice", "--file", str(path), "--", "echo", "ran"]
    return subprocess.Popen(
        [str(paths.COMMAND), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_login_is_let_in_while_a_long_list_is_on_its_way(narrow, tmp_path, syslog):
    line, stack = narrow(32 * 1024)
    alice, bob = stack.approver("alice"), stack.approver("bob")
    client = stack.client(stack.sshd())
    mark, before = syslog.mark(), line.carried
    run = ask_with_list(tmp_path)
    wait_until(lambda: line.carried - before > 16 * 1024, 10, "the list is on its way")
    login = client.login("bob", "id", "-un")
    login.answer_password("bob-password")
    login.answer_code(bob.approve(bob.next_request()))
    assert login.finish() == 0
    assert login.lines()[-1] == "bob"
    assert line.carried - before < MOST, "the list is on its way yet"
    request = alice.next_request(seconds=15)
    assert alice.wait_for("list", id=request["id"])["text"] == TEXT
    alice.approve(request)
    assert run.communicate(timeout=15) == ("ran\n", "Approve this on your phone.\n")
    said = "\n".join(syslog.lines(after=mark))
    assert not [words for words in SHAKEN if words in said], said
    # Sent once: not much more than it is long.
    assert line.carried - before < MOST * 1.4


def test_a_list_that_does_not_arrive_is_refused_and_opens_no_way_around(narrow, tmp_path, syslog):
    line, stack = narrow(8 * 1024, offline=["recovery", "phone-code"])
    alice = stack.approver("alice")
    stack.daemon.command("codes", "alice", "--recovery")
    mark, began = syslog.mark(), time.monotonic()
    run = ask_with_list(tmp_path)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out) == (1, "")
    assert "The list could not be brought to the approval server (it did not arrive there within 15 s)" in err
    assert 14 < time.monotonic() - began < 20
    assert alice.requests() == []
    assert stack.daemon.status()["connected"]
    record = stack.daemon.audit()[-1]
    assert (record["event"], record["outcome"]) == ("ask", "busy"), record
    said = "\n".join(syslog.lines(after=mark))
    assert not [words for words in SHAKEN if words in said], said
