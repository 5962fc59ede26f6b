"""Who may approve: only a paired, unrevoked device of that person, by a signature over exactly this request."""

import json
import subprocess
import time

import pytest
from lab import accounts, pam, paths
from lab.approver import Approver
from lab.daemon import Daemon
from lab.forger import Forger, Key, fingerprint, key_id
from lab.pairing import PairingCommand
from lab.process import wait_until
from lab.terminal import CODE, Terminal, on_terminal_of

PASSWORD = "alice-password"


def sudo():
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password(PASSWORD)
    return run


def still_waiting(run, seconds=1.0):
    """Nothing opened and nothing ended."""
    time.sleep(seconds)
    assert run.child.isalive()


@pytest.fixture
def waiting(up):
    """A sudo that waits for a tap, its request as the device got it, and the device in a forger's hands."""
    stack = up(confirm="tap", wait="40s")
    phone = stack.approver("alice")
    phone.stop()
    run = sudo()
    forger = Forger(phone.home, stack.server.origin)
    hosts = json.loads((phone.home / "hosts.json").read_text())
    forger.host_key = hosts[0]["key"]
    return stack, run, forger, forger.request(forger.host_key)


def opens(run, forger, request):
    """The control: the same device's proper decision is accepted, so what came before was judged and refused."""
    body = forger.decision(request)
    assert forger.send(request, body, forger.key.sign(body))
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"


def test_a_proper_decision_opens(waiting):
    _, run, forger, request = waiting
    opens(run, forger, request)


@pytest.mark.parametrize("signature", ["", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"])
def test_an_unsigned_decision_does_not_open(waiting, signature):
    _, run, forger, request = waiting
    forger.send(request, forger.decision(request), signature)
    still_waiting(run)
    opens(run, forger, request)


def test_a_decision_signed_by_an_unpaired_key_does_not_open(waiting, tmp_path):
    _, run, forger, request = waiting
    stranger = Key.new(tmp_path)
    body = forger.decision(request)
    forger.send(request, body, stranger.sign(body))
    forger.send(request, body, stranger.sign(body), sender=stranger.line)
    still_waiting(run)
    opens(run, forger, request)


def test_a_signature_for_something_else_does_not_open(waiting):
    """The device did sign these bytes, but as an authentication or a card."""
    _, run, forger, request = waiting
    body = forger.decision(request)
    for namespace in ("auth@countersign.org", "device@countersign.org", "request@countersign.org", "file"):
        forger.send(request, body, forger.key.sign(body, namespace))
    still_waiting(run)
    opens(run, forger, request)


def test_a_changed_decision_does_not_open(waiting):
    """Signed as a denial, sent as an approval."""
    _, run, forger, request = waiting
    denial = forger.decision(request, decision="deny")
    forger.send(request, denial.replace(b'"deny"', b'"approve"'), forger.key.sign(denial))
    still_waiting(run)
    opens(run, forger, request)


@pytest.mark.parametrize(
    "fields",
    [{"request": "00" * 32}, {"request": None}, {"version": 2}, {"version": None}, {"decision": "yes"}, {"decision": None}],
    ids=["other-digest", "no-digest", "later-version", "no-version", "unknown-answer", "no-answer"],
)  # fmt: skip
def test_a_decision_that_is_not_over_this_request_does_not_open(waiting, fields):
    _, run, forger, request = waiting
    body = forger.decision(request, **fields)
    forger.send(request, body, forger.key.sign(body))
    still_waiting(run)
    opens(run, forger, request)


def test_a_decision_of_an_earlier_login_does_not_open(waiting):
    """Replayed as it was, and sealed anew to the new login's key."""
    _, run, forger, old = waiting
    body = forger.decision(old)
    signature = forger.key.sign(body)
    assert forger.send(old, body, signature)
    assert run.finish() == 0
    again = sudo()
    new = forger.request(forger.host_key)
    assert new != old
    forger.send(old, body, signature)
    forger.send(new, body, signature)
    forger.send(new, body, signature, reply_key=json.loads(old)["reply_key"])
    still_waiting(again)
    opens(again, forger, new)


def test_a_decision_of_somebody_elses_device_does_not_open(up):
    """Bob's device is paired on this host, for bob; it even knows alice's request."""
    stack = up(confirm="tap", wait="40s")
    alice, bob = stack.approver("alice"), stack.approver("bob")
    alice.stop()
    bob.stop()
    run = sudo()
    owner, other = Forger(alice.home, stack.server.origin), Forger(bob.home, stack.server.origin)
    host_key = json.loads((alice.home / "hosts.json").read_text())[0]["key"]
    request = owner.request(host_key)
    body = other.decision(request)
    other.send(request, body, other.key.sign(body))
    # And alice's device passing bob's signature on.
    owner.send(request, body, other.key.sign(body))
    still_waiting(run)
    opens(run, owner, request)


def test_a_decision_for_another_host_does_not_open(up, tmp_path):
    """One device, paired with two hosts: what it approves on one is worth nothing on the other."""
    stack = up(confirm="tap", wait="40s")
    other = Daemon(tmp_path / "other", stack.server.origin, suffix="-2", confirm="tap", wait="40s").start()
    other.join(stack.server.token())
    phone = stack.approver("alice")
    phone.stop()
    phone.pair("alice", run=other.run)
    phone.stop()
    pam.write("lab", f"auth required {paths.MODULE} socket={other.run}/pam.sock\naccount required pam_permit.so\n")
    here, there = sudo(), Terminal(["pamtester", "lab", "alice", "authenticate"], timeout=20)
    forger = Forger(phone.home, stack.server.origin)
    hosts = {fingerprint(host["key"]): host["key"] for host in json.loads((phone.home / "hosts.json").read_text())}
    asked_here = forger.request(hosts[stack.daemon.status()["host_key"]])
    asked_there = forger.request(hosts[other.status()["host_key"]])
    body = forger.decision(asked_there)
    signature = forger.key.sign(body)
    # To this host as it is, and sealed to the key of this host's own request.
    there_key, here_key = json.loads(asked_there)["reply_key"], json.loads(asked_here)["reply_key"]
    forger.send(asked_here, body, signature, reply_key=there_key)
    forger.send(asked_here, body, signature, reply_key=here_key)
    still_waiting(here)
    forger.send(asked_there, body, signature)
    assert there.finish() == 0
    still_waiting(here, 0.5)
    opens(here, forger, asked_here)


def test_a_decision_after_the_time_does_not_open(up):
    stack = up(confirm="tap", wait="5s")
    phone = stack.approver("alice")
    phone.stop()
    run = sudo()
    forger = Forger(phone.home, stack.server.origin)
    request = forger.request(json.loads((phone.home / "hosts.json").read_text())[0]["key"])
    body = forger.decision(request)
    signature = forger.key.sign(body)
    time.sleep(6)
    forger.send(request, body, signature)
    time.sleep(1)
    run.interrupt()
    assert run.finish() != 0
    assert "ran" not in run.lines()


@pytest.mark.parametrize("code", [None, "", "12345", "1234567", "abcdef", "      "])
def test_an_approval_without_a_proper_code_opens_nothing(up, code):
    """Where a code is to be typed, an approval that carries none must not make any answer right."""
    stack = up(wait="40s")
    phone = stack.approver("alice")
    phone.stop()
    run = sudo()
    run.expect(CODE)
    forger = Forger(phone.home, stack.server.origin)
    request = forger.request(json.loads((phone.home / "hosts.json").read_text())[0]["key"])
    body = forger.decision(request, code=code)
    forger.send(request, body, forger.key.sign(body))
    time.sleep(0.5)
    run.send(code or "")
    still_waiting(run)
    body = forger.decision(request, code="483920")
    forger.send(request, body, forger.key.sign(body))
    run.answer_code("483920")
    assert run.finish() == 0
    assert run.lines()[-1] == "ran"


def test_a_revoked_device_is_not_asked_and_opens_nothing(stack):
    phone = stack.approver("alice", "old-phone")
    other = stack.approver("alice", "new-phone")
    assert stack.daemon.command("revoke", "alice", "old-phone")["devices"][0]["name"] == "old-phone"
    assert [device["name"] for device in stack.daemon.command("devices", "alice")["devices"]] == ["new-phone"]
    run = sudo()
    request = other.next_request()
    run.expect(CODE)
    assert phone.requests() == []
    run.send(other.approve(request))
    assert run.finish() == 0


def test_a_device_revoked_while_it_is_asked_does_not_open(up):
    stack = up(confirm="tap", wait="40s")
    phone = stack.approver("alice", "old-phone")
    phone.stop()
    run = sudo()
    forger = Forger(phone.home, stack.server.origin)
    request = forger.request(json.loads((phone.home / "hosts.json").read_text())[0]["key"])
    stack.daemon.command("revoke", "alice", "old-phone")
    body = forger.decision(request)
    forger.send(request, body, forger.key.sign(body))
    time.sleep(1)
    run.interrupt()
    assert run.finish() != 0
    assert "ran" not in run.lines()


def test_with_two_devices_the_first_decision_counts(up):
    stack = up(confirm="tap")
    one, two = stack.approver("alice", "one"), stack.approver("alice", "two")
    run = sudo()
    request = one.next_request()
    other = two.next_request()
    assert request["id"] == other["id"]
    two.approve(other)
    assert run.finish() == 0
    assert one.wait_closed(request)["outcome"] == "approved"


def test_a_wrong_pairing_code_pairs_nobody(stack, tmp_path):
    host = subprocess.Popen(
        [paths.COMMAND, "pair", "alice", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    link = json.loads(host.stdout.readline())["link"]
    thief = Approver(tmp_path / "thief", "thief").start("--pair", link, "--name", "thief")
    code = thief.wait_for("pairing-code")["code"]
    out, _ = host.communicate("".join(f"{(int(code) + n) % 1_000_000:06d}\n" for n in (1, 2, 3)), timeout=20)
    thief.stop()
    assert host.returncode == 1, out
    assert stack.daemon.command("devices", "alice")["devices"] == []


def alices_command(stack):
    """`countersign pair alice` as alice herself runs it."""
    return PairingCommand("alice", argv_prefix=accounts.as_user_argv("alice"), options=["--no-ring"])


def devices(stack, user="alice"):
    return [device["name"] for device in stack.daemon.command("devices", user)["devices"]]


def new_device(tmp_path, link, name):
    return Approver(tmp_path / name, name).start("--pair", link, "--name", name)


def audit_is_valid(stack):
    file = next((stack.daemon.state / "audit").glob("*.jsonl"))
    approvers = stack.daemon.state / "approvers"
    assert stack.daemon.command("audit", "verify", "--file", file, "--approvers", approvers)["valid"]


@pytest.mark.parametrize(("letter", "answer"), [("a", "rang"), ("d", "denied")])
def test_a_new_device_is_rung_and_its_answer_heard(stack, tmp_path, letter, answer):
    command = PairingCommand("alice")
    phone = new_device(tmp_path, command.link, "phone")
    command.type(phone.wait_for("pairing-code")["code"])
    command.wait_for("ringing")
    request = phone.next_request()
    assert (request["kind"], request["confirm"]) == ("test", "tap")
    assert "rings this device as a test" in request["text"]
    phone.send(f"{letter} {request['id']}")
    rung = command.wait_for("rung")
    assert (rung["answered"], rung["answer"], rung["skipped"]) == (True, answer, False)
    assert command.finish() == 0
    phone.wait_closed(request)
    assert not [record for record in stack.daemon.audit() if record["event"] == "login"]
    phone.stop()


@pytest.mark.parametrize("size", [(24, 80), (24, 40), (60, 120)])
def test_the_link_can_be_copied_from_a_window_of_any_size(stack, tmp_path, size):
    host = Terminal([str(paths.COMMAND), "pair", "alice", "--no-ring"], timeout=15, size=size)
    # From the first column to the end of the line, whatever the window has to break.
    host.expect(r"\r\n(https?://\S+/pair#1\.\S+)\r\n")
    link = host.child.match.group(1)
    host.expect(r"(?<![0-9a-z-])[0-9a-hjkmnp-tv-z-]{30}(?![0-9a-z-])")
    phone = new_device(tmp_path, link, "phone")
    code = phone.wait_for("pairing-code")["code"]
    host.expect("Type the pairing code that it shows: ")
    host.send(code)
    assert host.finish() == 0
    assert devices(stack) == ["phone"]
    phone.stop()


@pytest.mark.parametrize("key", ["enter", "interrupt"])
def test_the_ring_need_not_be_waited_for(stack, tmp_path, key):
    host = Terminal([str(paths.COMMAND), "pair", "alice"], timeout=15)
    host.expect(r"\r\n(https?://\S+/pair#1\.\S+)\r\n")
    link = host.child.match.group(1)
    # What can be typed stays in the last line.
    host.expect(r"type (?:this in the app|there): [0-9a-hjkmnp-tv-z-]{30}")
    phone = new_device(tmp_path, link, "phone")
    code = phone.wait_for("pairing-code")["code"]
    host.expect("Type the pairing code that it shows: ")
    host.send(code)
    host.expect("We just rang this phone")
    request = phone.next_request()
    host.expect(r"Waiting \d+ s")
    host.interrupt() if key == "interrupt" else host.send("")
    assert host.finish() == 0
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    assert devices(stack) == ["phone"]
    phone.stop()


def test_a_user_pairs_one_more_device_with_the_code_of_a_paired_one(stack, tmp_path):
    phone = stack.approver("alice")
    command = alices_command(stack)
    assert command.wait_for("approve")["tries"] == 3
    request = phone.next_request()
    assert (request["kind"], request["action"], request["confirm"]) == ("action", "pair one more device", "code")
    command.type(phone.approve(request))
    tablet = new_device(tmp_path, command.link, "tablet")
    command.type(tablet.wait_for("pairing-code")["code"])
    assert command.finish() == 0
    assert devices(stack) == ["phone", "tablet"]
    news = phone.wait_for("device")
    assert (news["change"]["what"], news["change"]["name"], news["user"]) == ("paired", "tablet", "alice")
    record = next(record for record in stack.daemon.audit() if record["event"] == "pairing")
    assert (record["outcome"], record["approver"]) == ("granted", "alice")
    assert json.loads(record["decision"])["decision"] == "approve"
    audit_is_valid(stack)
    tablet.stop()


def test_an_approval_without_its_code_pairs_nobody(stack):
    """As when somebody taps what another person's terminal asks."""
    phone = stack.approver("alice")
    command = alices_command(stack)
    command.wait_for("approve")
    request = phone.next_request()
    code = int(phone.approve(request))
    for wrong in (1, 2, 3):
        command.type(f"{(code + wrong) % 1_000_000:06d}")
    assert command.finish() == 1
    assert "Too many wrong codes" in command.said()
    assert command.event("opened") is None
    assert phone.wait_closed(request)["outcome"] == "failed"
    assert devices(stack) == ["phone"]


def test_a_denied_pairing_opens_no_mailbox(stack):
    phone = stack.approver("alice")
    command = alices_command(stack)
    command.wait_for("approve")
    request = phone.next_request()
    phone.decide(request, "report")
    command.type("123456")
    assert command.finish() == 1
    assert "Denied on the phone" in command.said()
    assert command.event("opened") is None
    assert [record["outcome"] for record in stack.daemon.audit() if record["event"] == "pairing"] == ["denied"]
    audit_is_valid(stack)


def test_the_approving_device_cannot_be_the_new_one(stack):
    phone = stack.approver("alice")
    command = alices_command(stack)
    command.wait_for("approve")
    command.type(phone.approve(phone.next_request()))
    link = command.link
    phone.stop()
    phone.start("--pair", link)
    assert command.finish() != 0
    assert "the device that has approved" in command.said()
    assert command.event("answered") is None


def test_the_remaining_devices_hear_of_a_revoked_one(stack):
    phone, old = stack.approver("alice", "phone"), stack.approver("alice", "old-phone")
    bobs = stack.approver("bob", "bobs")
    stack.daemon.command("revoke", "alice", "old-phone")
    news = phone.wait_for("device", text='The device "old-phone" may no longer approve for alice at lab.')
    assert [device["name"] for device in news["devices"]] == ["phone"]
    assert not old.all("device", host="lab") or all(e["change"]["name"] != "old-phone" for e in old.all("device"))
    assert bobs.all("device") == []


def test_an_approval_is_taken_back_before_its_code_is_typed(stack):
    phone = stack.approver("alice")
    run = sudo()
    request = phone.next_request()
    code = phone.approve(request)
    phone.send(f"d {request['id']}")
    phone.wait_for("decided", id=request["id"], decision="deny")
    assert phone.wait_closed(request)["outcome"] == "denied"
    run.answer_code(code)
    run.expect("Denied on the phone")
    assert "ran" not in run.lines()
    record = next(record for record in stack.daemon.audit() if record["event"] == "login")
    assert (record["outcome"], json.loads(record["decision"])["decision"]) == ("denied", "deny")
    audit_is_valid(stack)


def test_a_device_that_was_off_hears_what_overwritten_news_said_and_only_once(stack):
    """The server keeps the newest notice only."""
    phone = stack.approver("alice", "phone")
    stack.approver("alice", "old-phone")
    phone.wait_for("device", text='The device "old-phone" may approve for alice at lab from now on. '
                   "If you did not pair it: countersign revoke alice there")  # fmt: skip
    phone.stop()
    stack.daemon.command("revoke", "alice", "old-phone")
    stack.approver("alice", "tablet")

    phone.events.clear()
    phone.start()
    # Who went is told before who came.
    wait_until(lambda: len(phone.all("device")) == 2, 10, f"both news; it saw:\n{phone.said()}")
    news = [(event["change"]["what"], event["change"]["name"]) for event in phone.all("device")]
    assert news == [("removed", "old-phone"), ("paired", "tablet")]
    phone.stop()

    phone.events.clear()
    phone.start()
    stack.daemon.command("revoke", "alice", "tablet")
    phone.wait_for("device")
    news = [(event["change"]["what"], event["change"]["name"]) for event in phone.all("device")]
    assert news == [("removed", "tablet")]


def test_a_device_of_two_users_is_taken_from_one_and_goes_on_for_the_other(stack):
    phone = stack.approver("alice", "phone")
    shared = stack.approver("alice", "shared")
    shared.stop()
    shared.pair("bob")
    argv = accounts.as_user_argv("alice", str(paths.COMMAND), "revoke", "alice", "shared")
    revoke = subprocess.run(argv, capture_output=True, text=True, timeout=15)
    assert revoke.returncode == 0 and "still approves for somebody else" in revoke.stdout
    assert (devices(stack), devices(stack, "bob")) == (["phone"], ["shared"])
    phone.wait_for("device", text='The device "shared" may no longer approve for alice at lab.')
    record = stack.daemon.audit()[-1]
    assert (record["event"], record["user"]) == ("unpaired", "alice")
    audit_is_valid(stack)


def test_a_device_takes_another_one_away_and_the_audit_proves_it(stack):
    phone, lost = stack.approver("alice", "phone"), stack.approver("alice", "lost")
    bobs = stack.approver("bob", "bobs")
    phone.wait_for("device")
    lost_id, bobs_id = (key_id(Key(one.home / "id_ed25519").line) for one in (lost, bobs))
    phone.stop()
    forger = Forger(phone.home, stack.server.origin)
    host_key = json.loads((phone.home / "hosts.json").read_text())[0]["key"]
    notice = forger.message("notice", host_key)
    # Not somebody else's, and not with another notice's digest.
    assert forger.remove(notice, bobs_id, host_key)
    wait_until(lambda: refusals(stack), 5, "the refusal is written down")
    assert devices(stack, "bob") == ["bobs"]
    assert forger.remove(notice, lost_id, host_key)
    wait_until(lambda: devices(stack) == ["phone"], 5, "the lost device is gone")
    # The same again, of what is no longer the last notice.
    assert forger.remove(notice, lost_id, host_key)
    wait_until(lambda: len(refusals(stack)) == 2, 5, "the second one is refused")
    assert devices(stack) == ["phone"]
    record = next(record for record in stack.daemon.audit() if record["event"] == "revoked")
    assert json.loads(record["removal"])["device"] == lost_id
    audit_is_valid(stack)


def refusals(stack):
    return [record for record in stack.daemon.audit() if record["event"] == "removal-refused"]
