"""Programs that log in by themselves with a key: unchanged, one tap each."""

import os
import subprocess

import pytest
from lab.accounts import HOMES


@pytest.fixture
def parts(stack):
    sshd = stack.sshd(AuthenticationMethods="publickey")
    return stack, stack.approver("alice"), stack.client(sshd, "alice")


def run(argv, phone, answer="approve", timeout=60, **environment):
    """Runs the program; the device answers the first request."""
    running = subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, **environment},
    )  # fmt: skip
    phone.decide(phone.next_request(seconds=30), answer)
    out, err = running.communicate(timeout=timeout)
    return running.returncode, out, err


def test_scp_in_batch_mode(parts, tmp_path):
    _, phone, client = parts
    source = tmp_path / "letter"
    source.write_text("hello")
    code, _, err = run(["scp", "-B", "-F", client.config, source, "alice@127.0.0.1:letter"], phone)
    assert code == 0, err
    assert (HOMES / "alice" / "letter").read_text() == "hello"


def test_denied_scp_copies_nothing(parts, tmp_path):
    _, phone, client = parts
    source = tmp_path / "letter"
    source.write_text("hello")
    code, _, _ = run(["scp", "-B", "-F", client.config, source, "alice@127.0.0.1:letter"], phone, "deny")
    assert code != 0
    assert not (HOMES / "alice" / "letter").exists()


def test_rsync(parts, tmp_path):
    _, phone, client = parts
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "leaf").write_text("green")
    remote_shell = f"ssh -o BatchMode=yes -F {client.config}"
    code, _, err = run(["rsync", "-a", "-e", remote_shell, tmp_path / "tree", "alice@127.0.0.1:"], phone)
    assert code == 0, err
    assert (HOMES / "alice" / "tree" / "leaf").read_text() == "green"


def test_ansible_ping(parts, tmp_path):
    _, phone, client = parts
    arguments = f"-F {client.config} -o ControlMaster=auto -o ControlPersist=30 -o ControlPath={tmp_path}/cm-%C"
    code, out, err = run(
        ["ansible", "all", "-i", "127.0.0.1,", "-u", "alice", "-m", "ping",
         "-e", "ansible_python_interpreter=/usr/bin/python3"],
        phone, ANSIBLE_SSH_ARGS=arguments, ANSIBLE_HOME=str(tmp_path / "ansible"), ANSIBLE_NOCOLOR="1",
    )  # fmt: skip
    assert code == 0, out + err
    assert '"ping": "pong"' in out
    # Its connections are one, so it is one tap.
    assert len(phone.requests()) == 1
