"""Callers who are not root: whatever they ask, and however, it is about themselves or it is refused."""

import pwd
import re
import socket
import subprocess
from pathlib import Path

import pytest
from lab import paths
from lab.accounts import as_user_argv
from lab.peer import EVERYBODY, ROOT, Peer, ask, login, manage
from lab.process import wait_until

NOT_PERMITTED = "org.countersign.Manage.NotPermitted"

# Every call of the management interface as bob may try it about alice.
ABOUT_ALICE = {
    "Status": None,
    "Join": {"token": "join-AAAA"},
    "Pair": {"user": "alice"},
    "PairApprove": {"code": "000000"},
    "PairWait": {},
    "PairCode": {"code": "000000"},
    "Ring": {},
    "Devices": {"user": "alice"},
    "Revoke": {"user": "alice", "device": "phone"},
    "NewCodes": {"user": "alice", "count": 1},
    "CodesLeft": {"user": "alice"},
    "NewOnce": {"user": "alice", "seconds": 3600, "reason": "lost"},
    "NewAuthenticator": {"user": "alice"},
    "Blocks": {},
    "Unblock": {"user": "alice"},
    "Leases": {"user": "alice"},
    "EndLeases": {"user": "alice"},
    "Requests": {"user": "alice"},
    "CancelRequest": {"id": "0" * 32},
    "ActFor": {"uid": 0, "as_administrator": True},
    "PolkitAsks": {"subject": "alice", "action": "org.example.act", "text": "words"},
    "Watch": None,
}
# Those of them that name nobody, and go on with nothing that is open: root's alone.
ROOTS = ("Join", "Blocks", "ActFor", "PolkitAsks")
# Other ways to name somebody else. None of them may be told from somebody who does not exist.
OTHERS = ["root", "ALICE", "alice ", " alice", "alice\n", "alice\0", "bob\0", "alice\0bob", "", "1001", "nobody-at-all", "*", "a" * 300]


@pytest.fixture
def parts(stack):
    alice = stack.approver("alice")
    stack.daemon.command("codes", "alice", "--recovery")
    return stack, alice


def test_the_tables_here_hold_every_call_that_there_is():
    for interface, known in (("Manage", set(ABOUT_ALICE)), ("Login", {"Begin", "Continue"})):
        source = (paths.REPOSITORY / "protocol" / "src" / f"{interface.lower()}.rs").read_text()
        assert set(re.findall(rf'serde\(rename = "org\.countersign\.{interface}\.(\w+)"\)', source)) == known


def test_no_call_of_bobs_is_about_alice_or_tells_whether_she_exists(parts):
    stack, alice = parts
    before = stack.daemon.command("devices")
    for method, about in ABOUT_ALICE.items():
        if about is None:
            continue
        answers = {str(ask(manage(method, **{**about, **({"user": user} if "user" in about else {})}), "bob")) for user in ["alice", *OTHERS]}
        # Where nothing is open on a connection there is nothing to go on with.
        expected = "NotFound' | BadCall'" if "user" not in about and method not in ROOTS else NOT_PERMITTED
        assert len(answers) == 1, f"{method}: who exists can be told: {answers}"
        assert any(word in answers.pop() for word in expected.split(" | ")), method
    assert stack.daemon.command("devices") == before
    assert stack.daemon.command("codes", "alice")["left"] == 10
    assert alice.requests() == []


def test_what_bob_hears_of_the_host_holds_nothing_of_others(parts):
    stack, _ = parts
    bob = stack.approver("bob", "bobs-phone")
    devices = ask(manage("Devices"), "bob")["parameters"]["devices"]
    assert [(device["user"], device["name"]) for device in devices] == [("bob", "bobs-phone")]
    assert "alice" not in str(ask(manage("Status"), "bob"))
    assert bob.requests() == []


def test_no_login_of_bobs_is_about_anybody_else(parts):
    stack, alice = parts
    bob = stack.approver("bob")
    claims = {
        "stage": "session", "service": "sshd", "remote_user": "alice", "remote_host": "192.0.2.1",
        "peer": {"address": "192.0.2.1", "port": 1}, "token": "x" * 43, "ssh_auth_info": "publickey ssh-ed25519 AAAA",
    }  # fmt: skip
    heard = {}
    for case, call in {"claims": login(user="alice", **claims), **{user: login(user=user) for user in ["alice", *OTHERS]}}.items():
        answer = ask(call, "bob")
        # What no user can be called, an empty name or a very long one, is no call at all.
        heard[case] = answer.get("parameters", {}).get("outcome") or answer["error"].rsplit(".")[-1]
    bad = {"": "BadCall", "a" * 300: "BadCall"}
    assert heard == {case: bad.get(case, "denied") for case in heard}
    assert alice.requests() == bob.requests() == []


def test_nothing_that_bob_claims_about_his_own_login_is_believed(parts):
    stack, _ = parts
    bob = stack.approver("bob")
    with Peer(EVERYBODY, "bob") as peer:
        peer.step(
            login(
                user="bob", service="sshd", remote_user="root", remote_host="192.0.2.1", peer={"address": "192.0.2.1", "port": 1},
                ssh_auth_info="publickey ssh-ed25519 AAAA", command_line="/usr/bin/sudo id", token="x" * 43,
            )
        )  # fmt: skip
        request = bob.next_request()
        assert request["kind"] == "unlock", "which says that all of it is the word of a program of bob's"
        assert not {"remote", "requester", "ssh_key"} & set(request)
        code = bob.approve(request)
        verdict = peer.step(login("Continue", answer=code))
    assert verdict["outcome"] == "granted" and "token" not in verdict, "a token would open a session of sshd's"


def test_roots_socket_is_closed_to_users(parts):
    with pytest.raises(PermissionError):
        Peer(ROOT, "bob")
    # And if somebody has opened it, the daemon looks who comes.
    ROOT.chmod(0o666)
    for call in (manage("NewCodes", user="alice", count=1), login(user="alice"), manage("Status")):
        assert ask(call, "bob", ROOT)["error"] == NOT_PERMITTED
    done = subprocess.run(as_user_argv("bob", paths.COMMAND, "codes", "alice", "--recovery"), capture_output=True, text=True)
    assert done.returncode == 4, done.stdout + done.stderr


def test_root_on_the_socket_for_everybody_is_a_user_like_any_other(parts):
    assert ask(manage("Devices", user="alice"), "root", EVERYBODY)["error"] == NOT_PERMITTED
    assert ask(manage("NewCodes", user="root", count=1), "root", EVERYBODY)["error"] == NOT_PERMITTED


def test_a_connection_is_whose_it_was_when_it_was_made(parts):
    """Bob's connection in the hands of root, of alice, and of a process that became somebody else, stays bob's."""
    stack, alice = parts
    with Peer(EVERYBODY, "bob") as peer:
        # This process is root by now, and the kernel's word was given at connect.
        assert peer.call(manage("Devices", user="alice"))["error"] == NOT_PERMITTED
        passed = subprocess.run(
            as_user_argv("alice", "python3", "-c", PASSED), stdin=peer.socket, capture_output=True, text=True, timeout=10
        )
        assert NOT_PERMITTED in passed.stdout, passed
    assert alice.requests() == []


PASSED = """
import socket
peer = socket.socket(fileno=0)
peer.sendall(b'{"method":"org.countersign.Manage.Devices","parameters":{"user":"alice"}}\\0')
print(peer.recv(65536))
"""


def test_descriptors_that_come_along_are_not_taken(parts):
    stack, _ = parts
    pid = stack.daemon.process.pid
    opened = lambda: len(list(Path(f"/proc/{pid}/fd").iterdir()))  # noqa: E731
    before = opened()
    with Peer(EVERYBODY, "bob") as peer, open("/dev/null") as null:
        for _ in range(20):
            socket.send_fds(peer.socket, [b'{"method":"org.countersign.Manage.Status"'], [null.fileno()] * 200)
            socket.send_fds(peer.socket, [b',"parameters":{}}\0'], [null.fileno()] * 200)
            assert "parameters" in peer.receive()
        assert opened() <= before + 1, "its own connection"
    # Something of the daemon's own may have been open at first.
    wait_until(lambda: opened() <= before, 5, "the connection is gone")


def test_a_user_who_is_no_more_may_ask_nothing(parts):
    """A uid without an account: an old file server's, a container's."""
    assert 54321 not in [entry.pw_uid for entry in pwd.getpwall()]
    for call in (manage("Devices"), manage("Devices", user="alice"), manage("CodesLeft", user="54321")):
        assert ask(call, 54321)["error"].startswith("org.countersign.Manage.Not")
    # Not even a refusal that is written down.
    stack, _ = parts
    records = len(stack.daemon.audit())
    assert ask(login(user="alice"), 54321)["error"] == "org.countersign.Login.BadCall"
    assert len(stack.daemon.audit()) == records
