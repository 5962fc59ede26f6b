"""What the daemon wrote down of a real login, checked with the tools that are there already."""

import base64
import json
import shutil
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


def extract(directory, stack):
    """The files of the newest granted record, as `countersign audit show SEQ --extract` writes them."""
    records = stack.daemon.command("audit", "show")
    records = records if isinstance(records, list) else records["records"]
    seq = [record["seq"] for record in records if "decision" in json.dumps(record)][-1]
    subprocess.run(
        ["/run/lab/bin/countersign", "audit", "show", str(seq), "--extract", str(directory)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return seq


def verify(directory, principal, body, signature):
    approvers = directory / "approvers"
    shutil.copy(STATE / "approvers", approvers)
    with open(body, "rb") as signed:
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", approvers, "-I", principal, "-n", "decision@countersign.org",
             "-s", signature],
            stdin=signed, capture_output=True, text=True,
        )  # fmt: skip


def test_ssh_keygen_accepts_the_decision_of_a_real_login(granted, tmp_path):
    directory = tmp_path / "record"
    extract(directory, granted)
    (signature,) = directory.glob("*decision*.sig")
    body = signature.with_suffix("")
    done = verify(directory, "alice", body, signature)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Good" in done.stdout
    # The same for somebody else, and for other bytes, is refused.
    assert verify(directory, "bob", body, signature).returncode != 0
    body.write_bytes(body.read_bytes().replace(b"approve", b"deny"))
    assert verify(directory, "alice", body, signature).returncode != 0


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
