"""Nobody is rung without end, and a person's no lasts: with real logins, a real server and the daemon's real files."""

import json
import os
import time
from pathlib import Path

import pytest
from lab.daemon import CONFIG
from lab.peer import ROOT, Peer, login
from lab.process import wait_until

PASSWORD = "alice-password"


def begin(peer, address, user="alice"):
    """A login of sshd's from an address; what the daemon wants of its module."""
    return peer.step(login(user=user, service="sshd", peer={"address": address, "port": 4000}))


def undecided(number, stack):
    """Logins that are broken off, one after the other, from everywhere."""
    for count in range(number):
        with Peer(ROOT) as peer:
            assert begin(peer, f"198.51.100.{count}")["step"] == "ask"
        wait_until(lambda: stack.daemon.status()["waiting"] == 0, 5, "the login is over")


def rung(stack):
    """What is held, by what it is."""
    return [block["what"] for block in stack.daemon.command("unblock")["blocks"]]


def test_quiet_begins_with_the_third_and_outlives_a_restart_and_a_success_ends_it(stack):
    phone = stack.approver("alice")
    client = stack.client(stack.sshd())
    undecided(2, stack)
    assert rung(stack) == []
    undecided(1, stack)
    assert rung(stack) == ["quiet"]
    undecided(47, stack)
    wait_until(lambda: len(phone.requests()) == 50, 10, "the app shows all of them")
    stack.daemon.stop()
    stack.daemon.start()
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the daemon is back")
    held = stack.daemon.command("unblock")["blocks"]
    assert [(block["what"], block["user"]) for block in held] == [("quiet", "alice")]
    assert 0 < held[0]["seconds"] <= 15 * 60
    # Quiet keeps nobody out.
    terminal = client.login("alice", "id", "-un")
    terminal.answer_password(PASSWORD)
    terminal.answer_code(phone.approve(phone.next_request(after=50)))
    assert terminal.finish() == 0
    wait_until(lambda: rung(stack) == [], 5, "a success ends the quiet")


def test_a_report_refuses_the_source_and_nobody_else_until_unblocked(stack):
    phone = stack.approver("alice")
    client = stack.client(stack.sshd())
    terminal = client.login("alice", "true")
    terminal.answer_password(PASSWORD)
    phone.decide(phone.next_request(), "report")
    terminal.answer_code("")
    assert terminal.finish() == 255
    started = time.monotonic()
    terminal = client.login("alice", "true")
    terminal.answer_password(PASSWORD)
    assert terminal.finish() == 255
    assert time.monotonic() - started < 10
    assert len(phone.requests()) == 1, "nobody is asked"
    for address, user in [("203.0.113.1", "alice"), ("127.0.0.1", "bob"), ("127.0.0.1", "nobody-of-that-name")]:
        with Peer(ROOT) as peer:
            assert begin(peer, address, user)["step"] == "ask", (address, user)

    held = stack.daemon.command("unblock")["blocks"]
    reported = [block for block in held if block["what"] == "reported"]
    assert [(block["user"], block["source"]) for block in reported] == [("alice", "127.0.0.1")]
    stack.daemon.command("unblock", "alice", "--source", "127.0.0.1")
    events = [record["event"] for record in stack.daemon.audit()]
    assert "blocked" in events and "unblocked" in events
    terminal = client.login("alice", "id", "-un")
    terminal.answer_password(PASSWORD)
    terminal.answer_code(phone.approve(phone.next_request(after=len(phone.requests()))))
    assert terminal.finish() == 0


@pytest.fixture
def hook(clean):
    """A program that writes down what it is told, where the daemon's user may write."""
    script = CONFIG.parent.parent / "countersign-told"
    spool = Path("/var/lib/countersign-told")
    spool.mkdir(exist_ok=True)
    spool.chmod(0o777)
    out = spool / "events"
    out.unlink(missing_ok=True)
    script.write_text(f'#!/bin/sh\nread -r told\necho "$1 $# $(id -un) $told" >> {out}\n')
    script.chmod(0o755)
    yield script, out
    script.unlink(missing_ok=True)


def test_the_hook_hears_of_devices_denials_reports_and_faulty_policies(up, hook):
    script, out = hook
    stack = up(host={"hook": [str(script), "$(id) ; x"]})
    told = lambda: [line for line in out.read_text().splitlines() if line] if out.exists() else []  # noqa: E731
    phone = stack.approver("alice")
    for number, answer in enumerate(["deny", "report"]):
        with Peer(ROOT) as peer:
            begin(peer, f"198.51.100.{number}")
            phone.decide(phone.next_request(after=number), answer)
            assert peer.step(login("Continue", answer="", cannot_ask=False))["step"] == "verdict"
    good = CONFIG.read_text()
    stack.daemon.write_config(good + "no_such_key = 1\n")
    stack.daemon.reload()
    wait_until(lambda: len(told()) == 4, 10, "the hook heard of four things")
    assert all(line.startswith("$(id) ; x 1 countersign {") for line in told()), told()
    events = {event["event"]: event for event in (json.loads(line[line.index("{") :]) for line in told())}
    assert set(events) == {"device-added", "denied", "reported", "config-refused"}
    assert (events["device-added"]["person"], events["device-added"]["device_name"]) == ("alice", "phone")
    for number, name in enumerate(["denied", "reported"]):
        event = events[name]
        assert (event["user"], event["person"], event["service"]) == ("alice", "alice", "sshd")
        assert (event["source"], event["version"], event["host"]) == (f"198.51.100.{number}", 1, "lab")
        assert event["device"] == events["device-added"]["device"] and abs(event["at"] - time.time()) < 60
    assert "no_such_key" in events["config-refused"]["reason"]


def test_a_hook_that_others_may_write_is_not_run_and_logins_go_on(up, hook):
    script, out = hook
    stack = up(host={"hook": [str(script)]})
    phone = stack.approver("alice")
    wait_until(out.exists, 10, "it heard of the device")
    size = os.path.getsize(out)
    script.chmod(0o777)
    with Peer(ROOT) as peer:
        begin(peer, "198.51.100.1")
        phone.decide(phone.next_request(), "deny")
        assert peer.step(login("Continue", answer="", cannot_ask=False))["outcome"] == "denied"
    time.sleep(1)
    assert os.path.getsize(out) == size
