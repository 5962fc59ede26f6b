"""Escapes, newlines, NUL, bidirectional and invisible text in every name that somebody else chooses: inert wherever it is read.

The web approver's pages have this in test_web_safe.py, desktop notifications in test_notify.py.
"""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
from lab import inert, pam, paths
from lab.approver import Approver
from lab.daemon import RUN, STATE
from lab.fake_host import FakeHost, some_key_id
from lab.inert import EVIL, EVIL_ITEM, EVIL_NAME
from lab.peer import Peer, ask, login, manage
from lab.process import Process, wait_until
from lab.server import Server
from lab.terminal import Terminal

JOURNALD = Path("/lib/systemd/systemd-journald")


def command(*words):
    """What `countersign WORDS` prints, on both channels."""
    done = subprocess.run([paths.COMMAND, "--run", RUN, *map(str, words)], capture_output=True, timeout=30)
    return done.stdout + done.stderr


def on_terminal(*words):
    """`countersign WORDS` on a large terminal."""
    screen = Terminal([str(word) for word in (paths.COMMAND, *words)])
    screen.child.setwinsize(60, 200)
    return screen


def ours(syslog, mark):
    """Our entries in the log since then; each is one datagram, as it came."""
    syslog.catch_up()
    entries = [raw for raw in syslog.raw[mark:] if b"countersign" in raw]
    for raw in entries:
        # libpam ends the entries that it writes with a NUL.
        assert b"\n" not in raw, raw
    return b"\n".join(raw.rstrip(b"\0") for raw in entries)


def everywhere(stack, syslog, mark):
    """Every place on the host where a login, a pairing or a removal leaves its words."""
    # The record stands before the line does, and the line before it is read here.
    wait_until(lambda: b"PWNED" in ours(syslog, mark), 5, "the line in the system log")
    inert.check(ours(syslog, mark), "the system log")
    inert.check(stack.daemon.process.log_path.read_bytes(), "the daemon's standard error")
    inert.check((STATE / "audit" / "audit.jsonl").read_bytes(), "the audit file")
    inert.check(command("audit", "show"), "countersign audit show")
    inert.check(command("audit", "show", "--json"), "countersign audit show --json")
    for record in stack.daemon.audit():
        if "PWNED" in json.dumps(record):
            inert.check(command("audit", "show", record["seq"]), f"record {record['seq']}")
            inert.check(command("audit", "show", record["seq"], "--json"), f"record {record['seq']} as JSON")


EVERY_FIELD = {
    "service": EVIL, "remote_host": EVIL, "remote_user": EVIL, "terminal": EVIL, "command_line": EVIL,
    "ssh_auth_info": f"publickey {EVIL.split()[0]}\u202e\x9b31m AAAA",
}  # fmt: skip


def test_no_field_of_a_login_acts_on_the_host(stack, syslog):
    """By the socket itself, which unlike PAM can carry a NUL."""
    mark = syslog.mark()
    with Peer() as peer:
        step = peer.step(login(user=EVIL, **EVERY_FIELD))
        assert step["step"] == "ask" and inert.found(step["text"].encode()) == []
    wait_until(lambda: len(stack.daemon.audit()) > 1, 5, "the login's record")
    assert stack.daemon.audit()[-1]["user"] == EVIL, "escaped where it is written, not changed"
    everywhere(stack, syslog, mark)
    inert.check(command("audit", "verify") + b"PWNED", "countersign audit verify")
    # What is no call at all is told of, too.
    for call in ({"method": EVIL}, manage(EVIL), manage("Revoke", user="root", device=EVIL), login(user=EVIL, version=EVIL), login(EVIL)):
        assert "error" in ask(call)
    inert.check(ours(syslog, mark), "the system log")


# How `countersign approve` is started, and what it says when it listens.
MODES = {
    "plain": (["--plain"], "connected"),
    "json": (["--plain", "--json"], '"connected"'),
    "screen": ([], "Waiting for requests"),
}


def test_no_field_of_a_login_acts_on_the_approvers_terminal(stack, syslog):
    phone = stack.approver("alice")
    phone.stop()
    mark = syslog.mark()
    for name, (options, ready) in MODES.items():
        screen = on_terminal("approve", "--home", phone.home, *options)
        screen.expect(ready)
        with Peer() as peer:
            peer.step(login(**EVERY_FIELD))
            screen.expect("PWNED")
            time.sleep(0.2)
        screen.expect("[Ww]ithdrawn")
        drawn(screen, name)
        screen.kill()
    everywhere(stack, syslog, mark)


def drawn(screen, name):
    """Of what a terminal got: none of the sequences that the text held, and none of its invisible characters."""
    text = screen.text + (screen.child.before if isinstance(screen.child.before, str) else "")
    for sequence in ("\x1b]", "\x9b", "\x1b[2J\r\nx", "\0"):
        assert sequence not in text, f"{name}: {text!r}"
    left = [character for character in text if inert.is_active(character) and character not in "\x1b\r\n\x07\x0f\t"]
    assert left == [], f"{name}: {text!r}"


def test_a_devices_name_acts_nowhere(stack, syslog, tmp_path):
    """A phone chooses its name, and everybody who looks at the list of devices reads it."""
    other = stack.approver("alice", "first")
    mark = syslog.mark()
    evil = Approver(tmp_path / "evil", EVIL_NAME)
    terminal = on_terminal("pair", "alice", "--no-ring")
    terminal.expect(r"(https?://[^\s']+#[^\s']+)")
    evil.start("--pair", terminal.child.match.group(1), "--name", EVIL_NAME)
    terminal.expect("pairing code that it shows: ")
    terminal.send(evil.wait_for("pairing-code")["code"])
    assert terminal.finish() == 0
    drawn(terminal, "countersign pair")
    assert "PWNED" in terminal.text
    evil.wait_for("paired")
    inert.check(command("devices"), "countersign devices")
    inert.check(command("devices", "--json"), "countersign devices --json")
    inert.check((STATE / "approvers").read_bytes(), "the approvers file")
    told = other.wait_for("device")
    assert "PWNED" in json.dumps(told)
    fingerprint = stack.daemon.command("devices")["devices"][-1]["fingerprint"]
    inert.check(command("revoke", "alice", fingerprint), "countersign revoke")
    inert.check((other.home / "history.jsonl").read_bytes(), "the approver's history")
    everywhere(stack, syslog, mark)
    evil.stop()


def test_a_hosts_names_act_nowhere(tmp_path, clean):
    """A host says what it is called, and who is asked there."""
    server = Server(tmp_path / "server")
    host = FakeHost(tmp_path / "host", server, EVIL_NAME)
    pairing = host.pairing("alice")
    home = tmp_path / "device"
    device = None
    for name, (options, ready) in MODES.items():
        if not device:
            screen = on_terminal("approve", "--home", home, "--pair", pairing.link, "--name", "phone", *options)
            pairing.first()
            pairing.second()
            screen.expect(r"\d{6}|\d{3}.\d{3}")
            device = pairing.third()
        else:
            screen = on_terminal("approve", "--home", home, *options)
        screen.expect(ready)
        claims = {"user": EVIL_NAME, "requester": EVIL_NAME + "2", "service": EVIL_NAME, "remote": {"address": EVIL_NAME, "source": "pam"}}
        asked = host.ask(device, **claims)
        screen.expect("PWNED")
        host.close(device, asked, "denied")
        # A long line is cut where the window ends.
        screen.expect("Waiting for requests" if name == "screen" else "denied")
        tablet = {"what": "paired", "device": some_key_id(name), "name": EVIL_NAME}
        host.notice(device, [], tablet, issued_at=int(time.time()) + list(MODES).index(name))
        screen.expect("PWNED")
        time.sleep(0.2)
        drawn(screen, name)
        screen.kill()
    inert.check((home / "history.jsonl").read_bytes(), "the approver's history")
    # The server hears its name, and refuses one that acts.
    with pytest.raises(Exception, match="40[03]"):
        host.relay.call("POST", "/v1/hosts", {"token": server.token(), "name": EVIL_NAME, "proof": host.relay.proof()})
    server.stop()
    log = server.process.log_path.read_bytes()
    assert inert.found(log) == [], log


def test_pam_items_act_nowhere(stack, syslog):
    """The same by way of libpam and the module, which writes a line of its own."""
    pam.write("lab", f"auth required {paths.MODULE}\n")
    mark = syslog.mark()
    items = [f"-I{name}={EVIL_ITEM}" for name in ("rhost", "ruser", "tty")]
    run = Terminal(["pamtester", *items, "lab", EVIL_ITEM, "authenticate"])
    for _ in range(3):
        run.answer_code("no code")
    assert run.finish() != 0
    syslog.wait_for("pam_countersign", after=mark)
    everywhere(stack, syslog, mark)


@pytest.mark.skipif(not JOURNALD.exists(), reason="this machine has no journal")
def test_a_real_journal_shows_all_of_it_inert(stack, syslog, tmp_path):
    """What came to the system log is handed on to a journal as it came."""
    pam.write("lab", f"auth required {paths.MODULE}\n")
    mark = syslog.mark()
    run = Terminal(["pamtester", *[f"-I{name}={EVIL_ITEM}" for name in ("rhost", "ruser", "tty")], "lab", EVIL_ITEM, "authenticate"])
    for _ in range(3):
        run.answer_code("no code")
    assert run.finish() != 0
    syslog.wait_for("pam_countersign", after=mark)
    place = Path("/run/systemd/journal")
    place.mkdir(parents=True, exist_ok=True)
    Path("/run/log/journal").mkdir(parents=True, exist_ok=True)
    journal = Process("journald", [JOURNALD], tmp_path / "journald.log")
    wait_until((place / "dev-log").exists, 5, "the journal listens")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.connect(str(place / "dev-log"))
            entries = [raw for raw in syslog.raw[mark:] if b"countersign" in raw]
            for raw in [*entries, b"<86>lab: all is said"]:
                log.send(raw)
        shown = lambda: subprocess.run(["journalctl", "-o", "cat"], capture_output=True, check=True).stdout  # noqa: E731
        wait_until(lambda: b"all is said" in shown(), 5, "the journal has it all")
        assert len(entries) >= 2
        inert.check(shown(), "the journal")
    finally:
        journal.stop()


def test_the_machines_own_name_acts_nowhere(stack, syslog):
    """Whoever names the machine (DHCP, an image's maker) names it for phones, too, where the configuration does not."""
    stack.daemon.stop()
    text = stack.daemon.config.read_text()
    stack.daemon.write_config("".join(line + "\n" for line in text.splitlines() if not line.startswith("host_name")))
    mark = syslog.mark()
    try:
        socket.sethostname(EVIL_NAME)
        stack.daemon.start()
        status = command("status"), command("status", "--json")
    finally:
        socket.sethostname("lab")
    for printed in status:
        inert.check(printed, "countersign status")
    inert.check(ours(syslog, mark), "the system log")
    inert.check(stack.daemon.process.log_path.read_bytes(), "the daemon's standard error")
