"""The first start of a server, `countersign join URL` and `countersign setup`: on a terminal as a person would, and without one."""

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import accounts, paths, tls
from lab.approver import Approver
from lab.daemon import CONFIG, Daemon
from lab.process import Process, accepts, free_port, wait_until
from lab.server import Server
from lab.terminal import Terminal

LINK = r"(https?://\S+/pair#\S+)"
ENTER = ""


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "server")


@pytest.fixture
def bare(tmp_path):
    """A daemon as the packages leave it: it runs, and nothing is configured."""
    return bare_daemon(tmp_path)


def bare_daemon(tmp_path, **how):
    daemon = Daemon(tmp_path / "daemon", "")
    daemon.config.unlink()
    return daemon.start(**how)


@pytest.fixture
def phone(tmp_path):
    phone = Approver(tmp_path / "phone", "alice's phone")
    yield phone
    phone.stop()


def run(*words, stdin="", user=None, timeout=40):
    options = accounts.as_user(user) if user else {}
    return subprocess.run(
        [paths.COMMAND, *[str(word) for word in words]],
        input=stdin, capture_output=True, text=True, timeout=timeout, **options,
    )  # fmt: skip


def told(done, code, *words):
    """What a command said that ended so: all the words, and no more than two lines on standard error."""
    assert done.returncode == code, done
    for word in words:
        assert word in done.stderr, done
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    return done


def join_line(server):
    done = subprocess.run([paths.SERVER, "token", "--database", server.database], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"countersign join {re.escape(server.origin)} --token join-\S+\n", done.stdout), done
    return done.stdout.strip()


def mode(path):
    data = Path(path).stat()
    return data.st_uid, data.st_mode & 0o777


# --- the server's first start


def first_start(tmp_path, *words):
    """A server on a terminal, started without a command."""
    port = free_port()
    database = tmp_path / "state" / "server.db"
    database.parent.mkdir(exist_ok=True)
    argv = [str(paths.SERVER), "--listen", f"127.0.0.1:{port}", "--database", database, *words]
    return Terminal(argv), f"http://127.0.0.1:{port}", database


def test_a_first_start_prints_a_line_that_lets_a_host_join(tmp_path, bare):
    screen, origin, _ = first_start(tmp_path)
    screen.expect(r"No host has joined yet[\s\S]+?  (countersign join \S+ --token \S+)\r\n")
    line = screen.child.match.group(1).split()
    assert line[2] == origin
    screen.expect("server token --database")
    done = run(*line[1:])
    assert done.returncode == 0 and "Next: countersign setup" in done.stdout, done
    screen.interrupt()
    assert screen.finish() == 0
    again, _, _ = first_start(tmp_path)
    again.expect("listening on .*: 1 hosts")
    again.interrupt()
    assert again.finish() == 0 and "--token" not in again.text


def test_a_token_goes_into_no_log(tmp_path):
    server = Server(tmp_path / "server")
    server.process.wait_for("no host has joined yet; this prints the line to run on one: countersign-server token")
    assert "join-" not in server.process.log()


def test_root_leaves_the_files_to_the_user_that_keeps_them(tmp_path):
    # As the service's user has them: reached by a path that this user may go.
    state = Path("/var/lib/countersign-server-test")
    state.mkdir(mode=0o700)
    shutil.chown(state, "countersign", "countersign")
    config = tmp_path / "server.toml"
    port = free_port()
    config.write_text(f'listen = "127.0.0.1:{port}"\ndatabase = "{state}/server.db"\n')
    shutil.chown(config, "countersign", "countersign")
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(0o755)
    argv = [paths.SERVER, "--config", config, "token"]
    first = subprocess.run(argv, capture_output=True, text=True)
    assert first.returncode == 0, first
    assert first.stdout.startswith(f"countersign join http://127.0.0.1:{port} --token join-")
    alone = subprocess.run([*argv, "--quiet"], capture_output=True, text=True)
    assert re.fullmatch(r"join-\S+\n", alone.stdout), alone
    config.chmod(0o644)
    shutil.chown(config, "root", "root")
    server = Process("countersign-server", [paths.SERVER, "--config", config], tmp_path / "server.log")
    wait_until(lambda: not server.alive() or accepts(port), 10, "the server listens")
    assert server.alive(), server.log()
    uid = pwd.getpwnam("countersign").pw_uid
    assert os.stat(f"/proc/{server.pid}").st_uid == uid, "root was given up"
    assert {entry.stat().st_uid for entry in state.iterdir()} == {uid}, list(state.iterdir())
    server.stop()


# --- join


def test_join_writes_the_address_and_may_be_run_again(server, bare):
    line = join_line(server).split()[1:]
    done = run(*line)
    assert done.returncode == 0, done
    assert f'countersign.toml: server = "{server.origin}"' in done.stdout and bare.status()["connected"]
    text = CONFIG.read_text()
    assert f'\nserver = "{server.origin}"\n' in text and text.startswith("# Countersign: what happens to logins")
    assert mode(CONFIG) == (0, 0o644)
    again = run(*line, "--json")
    assert again.returncode == 0, again
    assert json.loads(again.stdout)["already"] is True and CONFIG.read_text() == text


def test_join_keeps_what_stands_in_the_file(server, bare):
    mine = "# mine\nhost_name = \"db-1\"\n\n[default]\nwait = \"20s\"\n"
    CONFIG.write_text(mine)
    CONFIG.chmod(0o640)
    shutil.chown(CONFIG, "root", "countersign")
    assert run(*join_line(server).split()[1:]).returncode == 0
    assert CONFIG.read_text() == mine.replace("host_name", f'server = "{server.origin}"\nhost_name')
    assert mode(CONFIG) == (0, 0o640) and CONFIG.group() == "countersign"


def test_join_takes_certificates_along(tmp_path):
    certificate, key, ca = tls.make(tmp_path / "tls")
    server = Server(tmp_path / "server", certificate, key)
    daemon = bare_daemon(tmp_path)
    ca.chmod(0o600)
    line = join_line(server).split()[1:]
    told(run(*line), 3, "no trusted connection", "server_ca")
    assert run(*line, "--server-ca", ca).returncode == 0
    assert daemon.status()["connected"]
    assert 'server_ca = "/etc/countersign/server-ca.pem"' in CONFIG.read_text()
    assert mode("/etc/countersign/server-ca.pem") == (0, 0o644)


def test_join_leaves_another_servers_line_alone(server, bare):
    mine = 'server = "https://old.example.com"\n'
    CONFIG.write_text(mine)
    told(run(*join_line(server).split()[1:]), 1, "names another server: https://old.example.com", "change that line")
    assert CONFIG.read_text() == mine


# --- setup on a terminal


def pair_on(screen, phone):
    """Answers the QR code that is on the screen, as the phone's person."""
    screen.expect(LINK)
    phone.start("--pair", screen.child.match.group(1), "--name", phone.name)
    screen.expect("Type the pairing code that it shows: ")
    screen.send(phone.wait_for("pairing-code")["code"])


def test_a_person_sets_a_host_up(server, bare, phone):
    screen = Terminal([str(paths.COMMAND), "setup", "--no-ring"])
    screen.expect(r"\[1/\d\] The push server")
    screen.expect("the server's address:\r\n> ")
    screen.send("http://push.example.com")
    screen.expect("plain http is for this host only")
    screen.expect("the server's address:\r\n> ")
    screen.send(f"sudo {join_line(server)}")
    screen.expect("done: connected to")
    screen.expect("Whose logins shall a phone approve.*: ")
    screen.send("nobody-here")
    screen.expect('no user "nobody-here"')
    screen.expect("Whose logins shall a phone approve.*: ")
    screen.send("alice")
    pair_on(screen, phone)
    screen.expect(r"\[3/\d\] Recovery codes")
    screen.expect(r"for alice to keep on paper\? \[Y/n\]: ")
    screen.send("y")
    screen.expect("Enter, once they are on paper: ")
    assert len(re.findall(r"^    \S+-\S+", screen.text, re.M)) == 10, screen.text
    screen.send(ENTER)
    screen.expect(r"Turn it on for \w+( and sudo)? now\? It is shown first \[y/N\]: ")
    screen.send(ENTER)
    screen.expect("This host is set up:")
    assert screen.finish() == 0
    assert "countersign test-login alice" in screen.text
    assert bare.status()["connected"] and bare.status()["devices"] == 1
    assert all(len(line) <= 80 for line in screen.lines() if line.startswith(("      ", "["))), screen.lines()

    # Once more: nothing is asked but whom it is about, and nothing is done.
    before, records = CONFIG.read_text(), len(bare.audit())
    again = Terminal([str(paths.COMMAND), "setup"])
    again.expect("already: connected to")
    again.expect("Whose logins.*: ")
    again.send("alice")
    again.expect("already: alice approves with alice's phone")
    again.expect("already: alice has 10 recovery codes")
    again.expect(r"\[y/N\]: ")
    again.send("n")
    assert again.finish() == 0
    assert CONFIG.read_text() == before and len(bare.audit()) == records


def test_a_mistyped_token_is_asked_for_again_and_ctrl_c_leaves_what_is_done(server, bare, phone):
    screen = Terminal([str(paths.COMMAND), "setup", "--no-ring", "--user", "alice", "--yes", "--no-enable", "--server", server.origin])
    screen.expect("A token of that server.*: ")
    screen.send("wrong")
    screen.expect("that is no token, which begins with join-")
    screen.expect("A token of that server.*: ")
    screen.send("join-wrong")
    screen.expect("make a new one")
    screen.expect("A token of that server.*: ")
    screen.send(join_line(server))
    screen.expect(LINK)
    screen.interrupt()
    assert screen.finish() in (130, -2)
    assert bare.status()["connected"] and bare.status()["devices"] == 0
    on = Terminal([str(paths.COMMAND), "setup", "--no-ring", "--user", "alice", "--yes", "--no-enable"])
    on.expect("already: connected to")
    pair_on(on, phone)
    on.expect("Enter, once they are on paper: ")
    on.send(ENTER)
    assert on.finish() == 0


def test_a_mistyped_address_is_asked_for_again_and_does_not_stay(server, bare):
    wrong = f"http://127.0.0.1:{free_port()}"
    screen = Terminal([str(paths.COMMAND), "setup", "--no-user", "--no-enable", "--yes"], timeout=30)
    screen.expect("the server's address:\r\n> ")
    screen.send("push.example")
    screen.expect("is no address: one looks like https://push.example.com")
    screen.expect("the server's address:\r\n> ")
    screen.send(f"countersign join {wrong} --token {server.token()}")
    screen.expect(rf"The server's address, if that was not it; Enter tries it again \[{wrong}\]: ")
    assert f'server = "{wrong}"' in CONFIG.read_text()
    screen.send(ENTER)
    screen.expect("Enter tries it again")
    screen.send(server.origin)
    screen.expect(f"done: connected to {server.origin}")
    assert screen.finish() == 0
    assert f'server = "{server.origin}"' in CONFIG.read_text() and wrong not in CONFIG.read_text()
    assert bare.status()["connected"]


# --- status


@pytest.fixture
def nothing_asks():
    """PAM's services as they are before one was turned on."""
    folder, saved = Path("/etc/pam.d"), Path("/run/lab/pam.d-asking")
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree(folder, saved)
    for file in folder.iterdir():
        if "pam_countersign" in file.read_text():
            file.unlink()
    yield
    shutil.rmtree(folder)
    shutil.copytree(saved, folder)


def test_status_of_a_host_that_nobody_has_set_up_is_no_alarm(bare, nothing_asks):
    done = run("status")
    assert "Nothing is set up on this host yet" in done.stdout and "Next: countersign setup" in done.stdout, done
    assert "REFUSED" not in done.stdout and done.returncode == 5, done


def test_status_names_the_services_that_are_refused(bare):
    said = run("status").stdout
    assert re.search(r"EVERY LOGIN by [^\n]*sshd[^\n]* IS REFUSED", said) and "countersign.toml" in said, said


def test_status_without_the_daemon_says_why_by_its_units(tmp_path):
    """With a systemctl of our own: the private host has no systemd."""
    told(run("status"), 3, "the daemon is not running", "countersignd --user countersign")
    systemctl = tmp_path / "systemctl"
    units = ["countersignd.service", "countersignd-pam.socket", "countersignd-self.socket"]
    booted = Path("/run/systemd/system")
    booted.mkdir(parents=True)
    try:
        for states, *words in [
            (["masked inactive", "loaded active", "loaded active"], "countersignd.service is masked: systemctl unmask countersignd.service"),
            (["loaded inactive"] * 3, "countersignd-pam.socket countersignd-self.socket are not active: systemctl start countersignd-pam.socket"),
            (["loaded failed", "loaded failed", "loaded failed"], "countersignd.service has failed (exit-code): journalctl -u countersignd"),
        ]:
            blocks = []
            for unit, state in zip(units, states, strict=True):
                load, active = state.split()
                result = "exit-code" if active == "failed" else "success"
                blocks.append(f"Result={result}\nId={unit}\nLoadState={load}\nActiveState={active}\n")
            systemctl.write_text("#!/bin/sh\ncat <<'E'\n" + "\n".join(blocks) + "E\n")
            systemctl.chmod(0o755)
            done = subprocess.run(
                [paths.COMMAND, "status"], capture_output=True, text=True, timeout=20,
                env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            )  # fmt: skip
            told(done, 3, *words)
    finally:
        booted.rmdir()


# --- setup without a terminal


def test_without_a_terminal_what_is_missing_is_named_and_nothing_is_changed(server, bare):
    told(run("setup"), 2, "--server URL, --token TOKEN", "--user NAME or --no-user", "--recovery or --no-recovery", "--no-enable")
    told(run("setup", "--no-user", "--enable", "sudo", "--server", server.origin), 2, "--yes beside --enable")
    assert not CONFIG.exists()
    CONFIG.write_text(f'server = "{server.origin}"\n')
    told(run("setup", "--no-user", "--no-enable"), 2, "--token TOKEN")
    told(run("setup", "--user", "nobody-here"), 1, 'no user "nobody-here"')
    done = run("setup", "--no-user", "--no-enable", stdin=server.token() + "\n", *["--token", "-"])
    assert done.returncode == 0 and "left out: nobody was paired" in done.stdout, done
    assert bare.status()["connected"]


def test_a_program_sets_a_host_up_and_reads_every_event(server, bare, phone):
    argv = [paths.COMMAND, "setup", "--json", "--server", server.origin, "--token", server.token(), "--user", "alice"]
    setup = subprocess.Popen(
        [str(word) for word in [*argv, "--no-ring", "--recovery", "--no-enable"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    events = []
    try:
        for line in setup.stdout:
            events.append({"event": "of another command", **json.loads(line)})
            if events[-1]["event"] == "opened":
                phone.start("--pair", events[-1]["link"], "--name", phone.name)
                setup.stdin.write(phone.wait_for("pairing-code")["code"] + "\n")
                setup.stdin.flush()
        assert setup.wait(10) == 0, events
    finally:
        setup.kill()
    states = [(event["step"], event["state"]) for event in events if event["event"] == "step"]
    assert states[:6] == [(step, state) for step in ("server", "person", "recovery") for state in ("begun", "done")]
    kinds = [event["event"] for event in events]
    assert "paired" in kinds and kinds[-1] == "finished"
    codes = next(event["codes"] for event in events if event["event"] == "recovery-codes")
    assert len(codes) == 10 and bare.command("codes", "alice")["left"] == 10

    again = run("setup", "--json", "--user", "alice", "--recovery", "--no-enable")
    assert again.returncode == 0, again
    events = [{"event": "of another command", **json.loads(line)} for line in again.stdout.splitlines()]
    assert [step["state"] for step in events[-1]["steps"]][:3] == ["already"] * 3
    assert not [event for event in events if event["event"] == "recovery-codes"]


@pytest.fixture
def sudo_as_shipped():
    """Its PAM service as Debian has it, and all of it as it was afterwards."""
    saved = Path("/run/lab/pam.d-saved")
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree("/etc/pam.d", saved)
    for file in (paths.REPOSITORY / "cli/tests/pam.d/debian12").iterdir():
        Path("/etc/pam.d", file.name).write_bytes(file.read_bytes())
    yield Path("/etc/pam.d/sudo")
    run("disable", "--all")
    shutil.rmtree("/etc/pam.d")
    shutil.copytree(saved, "/etc/pam.d")


def test_setup_turns_a_service_on_after_a_test_that_is_approved(stack, sudo_as_shipped):
    phone = stack.approver()
    shipped = sudo_as_shipped.read_text()
    words = ["setup", "--user", "alice", "--no-recovery", "--module", paths.MODULE]
    screen = Terminal([str(word) for word in [paths.COMMAND, *words, "--enable", "sudo"]])
    screen.expect("Write this, and take it back in two minutes unless it is confirmed")
    screen.send("y")
    code = phone.approve(phone.next_request())
    screen.answer_code(code)
    screen.expect("log in anew from a second terminal, and there: sudo countersign confirm")
    assert screen.finish() == 0 and "pam_countersign" in sudo_as_shipped.read_text()
    told(run(*words, "--enable", "su", "--yes"), 1, "an earlier change waits")
    assert run("rollback").returncode == 0 and sudo_as_shipped.read_text() == shipped
    # As it is once a new login has confirmed it.
    CONFIG.with_name("enabled").write_text("sudo\n")
    again = run(*words, "--enable", "sudo", "--yes")
    assert again.returncode == 0 and "already: sudo asks" in again.stdout and sudo_as_shipped.read_text() == shipped, again


def test_each_fault_is_one_line_with_the_next_step(server, bare):
    words = ["setup", "--server", server.origin, "--no-user", "--no-enable", "--token"]
    told(run(*words, "x", user="alice"), 4, "run it as root, with sudo")
    told(run("join", server.origin, "--token", "x", user="alice"), 4, "run it as root, with sudo")
    told(run(*words, "x"), 2, "that is no token, which begins with join-", "countersign-server token")
    told(run("join", server.origin, "--token", "x"), 2, "that is no token, which begins with join-")
    assert not CONFIG.exists()
    told(run(*words, "join-wrong"), 4, "make a new one", "countersign setup, which goes on")
    token = server.token()
    server.stop()
    told(run(*words, token), 3, "change the line server = in /etc/countersign/countersign.toml", "countersign setup, which goes on")
    told(run("join", server.origin, "--token", token), 3, "change the line server = in /etc/countersign/countersign.toml")
    server.start()
    bare.stop()
    told(run(*words, token), 3, "the daemon is not running", "systemctl start countersignd")
    bare.start()
    CONFIG.write_text(CONFIG.read_text() + "wiat = 1\n")
    done = run(*words, token)
    assert done.returncode == 5 and "has a fault; correct it" in done.stderr and ":1: " not in done.stdout, done


def test_a_clock_that_is_off_is_named(tmp_path):
    """The server's certificate is good for two days."""
    certificate, key, ca = tls.make(tmp_path / "tls")
    server = Server(tmp_path / "server", certificate, key)
    bare_daemon(tmp_path, clock="+10d")
    done = run("setup", "--server", server.origin, "--server-ca", ca, "--no-user", "--no-enable", "--token", server.token())
    told(done, 3, "no trusted connection", "and the clock", "countersign setup, which goes on")
