"""What the daemon wrote down of a real login, checked with the tools that are there already."""

import base64
import hashlib
import json
import subprocess

import pytest
from lab.daemon import STATE
from lab.terminal import on_terminal_of


@pytest.fixture
def granted(stack):
    """A login that was granted, and its record."""
    phone = stack.approver("alice")
    run = on_terminal_of("alice", "sudo", "-k", "true")
    run.answer_password("alice-password")
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0
    return stack


@pytest.fixture
def extracted(granted, tmp_path):
    """Request, decision and signatures of that record as files, and the line that checks them by hand."""
    directory = tmp_path / "record"
    seq = [record["seq"] for record in granted.daemon.audit() if record.get("decision")][-1]
    return directory, granted.daemon.command("audit", "show", seq, "--extract", directory)["command"]


def shell(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True)


def test_ssh_keygen_accepts_the_decision_of_a_real_login(extracted):
    directory, command = extracted
    assert command.startswith("ssh-keygen -Y verify")
    assert str(STATE / "approvers") in command
    done = shell(command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Good" in done.stdout
    assert json.loads((directory / "decision").read_text())["decision"] == "approve"


def test_ssh_keygen_refuses_it_for_anybody_and_anything_else(extracted):
    directory, command = extracted
    assert " -I alice " in command
    assert shell(command.replace(" -I alice ", " -I bob ")).returncode != 0
    assert shell(command.replace("decision@", "request@")).returncode != 0
    body = directory / "decision"
    body.write_bytes(body.read_bytes().replace(b"approve", b"deny"))
    assert shell(command).returncode != 0


def test_the_request_is_signed_by_the_host(extracted, granted):
    directory, _ = extracted
    request = (directory / "request").read_bytes()
    host = directory / "host"
    host.write_text(f"lab {json.loads(request)['host']['key']}\n")
    done = shell(
        f"ssh-keygen -Y verify -f {host} -I lab -n request@countersign.org -s {directory}/request.sig < {directory}/request"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # And the decision is over exactly these bytes.
    decision = json.loads((directory / "decision").read_text())
    assert decision["request"] == hashlib.sha256(request).hexdigest()


def test_the_chain_verifies_and_a_changed_record_is_found(granted, tmp_path):
    log = next((STATE / "audit").glob("*.jsonl"))
    approvers = ["--approvers", STATE / "approvers"]
    assert granted.daemon.command("audit", "verify", "--file", log, *approvers) is not None
    forged = tmp_path / "forged.jsonl"
    forged.write_text(log.read_text().replace('"alice"', '"mallory"', 1))
    done = subprocess.run(
        ["/run/lab/bin/countersign", "audit", "verify", "--file", forged, "--approvers", STATE / "approvers"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 5, done.stdout + done.stderr


def test_a_cut_is_found_by_the_line_that_the_system_log_has(syslog, granted, tmp_path):
    """Whoever keeps those lines elsewhere has each record's number and digest."""
    # Earlier tests have lines there, too.
    login = [record["login"] for record in granted.daemon.audit() if record.get("decision")][-1]
    mark = syslog.wait_for(f"]: granted login={login} ")[0].split("audit=")[1].split()[0]
    log = next((STATE / "audit").glob("*.jsonl"))
    records = log.read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(records[: int(mark.split(":")[0]) - 1]))
    found = {}
    for file in (log, cut):
        argv = ["/run/lab/bin/countersign", "audit", "verify", "--file", file, "--approvers", STATE / "approvers", "--has", mark]
        found[file] = subprocess.run(argv, capture_output=True, text=True)
    assert found[log].returncode == 0, found[log].stderr
    assert found[cut].returncode == 5 and "was written and is gone" in found[cut].stderr, found[cut].stderr


def test_nothing_secret_is_written_down(stack):
    phone = stack.approver("alice")
    (codes,) = [stack.daemon.command("codes", "alice", "--recovery")["codes"]]
    run = on_terminal_of("alice", "sudo", "-k", "true")
    run.answer_password("alice-password")
    phone.next_request()
    run.answer_code(codes[0])
    assert run.finish() == 0
    plain = codes[0].replace("-", "")
    for file in STATE.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for secret in (b"alice-password", codes[0].encode(), plain.encode(), base64.b64encode(plain.encode())):
                assert secret not in content, file


def test_the_state_is_the_daemons_alone(granted):
    assert STATE.stat().st_mode & 0o077 == 0
    for file in STATE.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
        assert file.owner() == "countersign", file
