"""A rule that wants two people: real sudo, a group of the host, phones of both kinds."""

import subprocess

import pytest
from lab.accounts import PASSWORDS
from lab.authority import Authority
from lab.daemon import STATE
from lab.page import DESKTOP, PHONE
from lab.terminal import ACKNOWLEDGE, on_terminal_of

FIRST = r"2 people have to approve on their phones\. Type the code of one of them: ?$"
ONE = r"1 of 2 approved\. Type the code of one of them: ?$"
NEXT = r"1 of 2 approved, 1 code is right\. Type the code of the next one: ?$"
GROUP = "oncall"


@pytest.fixture
def oncall():
    """A group of the host with alice, bob and demo in it."""
    subprocess.run(["groupadd", "--system", GROUP], check=True)
    for user in ("alice", "bob", "demo"):
        subprocess.run(["gpasswd", "--add", user, GROUP], check=True, capture_output=True)
    yield GROUP
    subprocess.run(["groupdel", GROUP], check=True)


@pytest.fixture
def two(up, oncall):
    """Everything, with a rule of two people of the group."""
    return lambda **more: up(approvals={"from": ["@oncall"], "needed": 2}, codes=[], **more)


def sudo(user="demo"):
    """A program that only two people together let run."""
    program = on_terminal_of(user, "sudo", "-k", "id", "-u", timeout=30)
    program.answer_password(PASSWORDS[user])
    return program


def last(stack):
    """The record of the last login, in an audit that verifies."""
    log = next((STATE / "audit").glob("*.jsonl"))
    stack.daemon.command("audit", "verify", "--file", log, "--approvers", STATE / "approvers")
    return [record for record in stack.daemon.audit() if record["event"] == "login"][-1]


@pytest.mark.openssh
def test_two_phones_of_two_people_open_sudo(two):
    stack = two()
    alice, bob = stack.approver("alice"), stack.approver("bob")
    program = sudo()
    program.expect(FIRST)
    seen = alice.next_request()
    assert seen["approvals"] == {"needed": 2, "from": ["@oncall"]}
    assert seen["user"] == "demo"
    code = bob.approve(bob.next_request())
    # An empty line says how far it is.
    program.send("")
    program.expect(ONE)
    program.send(code)
    program.expect(NEXT)
    program.send(alice.approve(seen))
    assert program.finish(timeout=30) == 0
    assert program.lines()[-1] == "0"
    for phone, request in ((alice, seen), (bob, bob.requests()[0])):
        assert phone.wait_closed(request)["outcome"] == "approved"
    record = last(stack)
    people = [record["approver"]] + [one["approver"] for one in record["further"]]
    assert (record["outcome"], people) == ("granted", ["bob", "alice"])


def test_two_phones_of_one_person_do_not(two):
    stack = two(wait="8s")
    phone, tablet, bob = stack.approver("alice"), stack.approver("alice", "tablet"), stack.approver("bob")
    program = sudo("alice")
    program.expect(FIRST)
    codes = [device.approve(device.next_request()) for device in (phone, tablet)]
    program.send(codes[0])
    program.expect(NEXT)
    program.send(codes[1])
    assert bob.wait_closed(bob.next_request(), seconds=20)["outcome"] == "expired"
    program.interrupt()
    assert program.finish() != 0
    assert last(stack)["outcome"] != "granted"


def test_one_no_is_enough(two):
    stack = two()
    alice, bob = stack.approver("alice"), stack.approver("bob")
    program = sudo()
    program.expect(FIRST)
    request = alice.next_request()
    program.send(alice.approve(request))
    program.expect(NEXT)
    bob.decide(bob.next_request(), "deny")
    assert alice.wait_closed(request)["outcome"] == "denied"
    program.send("")
    program.expect(r"Denied on the phone\. " + ACKNOWLEDGE)
    program.send("")
    assert program.give_up() != 0


def test_who_was_taken_out_of_the_group_has_not_approved(two):
    stack = two()
    alice, bob = stack.approver("alice"), stack.approver("bob")
    program = sudo()
    program.expect(FIRST)
    codes = [phone.approve(phone.next_request()) for phone in (alice, bob)]
    program.send(codes[0])
    program.expect(r"2 of 2 approved, 1 code is right\. Type the code of the next one: ?$")
    subprocess.run(["gpasswd", "--delete", "alice", GROUP], check=True, capture_output=True)
    program.send(codes[1])
    program.expect(ACKNOWLEDGE)
    assert "no longer one of those who may approve" in last(stack)["reason"]
    program.send("")
    assert program.give_up() != 0


def test_check_and_explain_say_who_is_there(two):
    stack = two()
    stack.approver("alice")
    question = ("policy", "explain", "--user", "demo", "--service", "sudo")
    assert "1 of them has a device here: alice" in stack.daemon.command(*question)["online"]
    said = stack.daemon.command("policy", "check", check=False)["advice"]
    texts = [one["text"] for one in said if one["kind"] == "people"]
    assert len(texts) == 1 and texts[0].startswith("2 people have to approve, and only alice can: nobody passes.")
    stack.approver("bob")
    assert "2 of them have a device here: alice, bob" in stack.daemon.command(*question)["online"]
    assert not stack.daemon.command("policy", "check")["advice"]


def test_the_prompt_is_the_same_where_too_few_can_be_asked(two):
    stack = two()
    alice = stack.approver("alice")
    program = sudo()
    program.expect(FIRST)
    program.interrupt()
    assert program.finish() != 0
    assert alice.requests() == []


def test_a_web_phone_says_whose_login_it_is(two, tmp_path):
    stack = two(server={"port": 8480, "name": "localhost"}, wait="60s")
    bob = stack.approver("bob")
    phone = stack.phone("alice", viewport=PHONE)
    program = sudo()
    program.expect(FIRST)
    request = phone.next_request()
    assert "demo’s, not yours" in request["text"]
    assert request["rows"]["approvals"] == "2 people have to approve; you are one of them (@oncall)"
    code = phone.approve(request)
    assert "Tell demo this code" in phone.card(request)["text"]
    for theme in ("light", "dark"):
        for size, pixels in (("phone", PHONE), ("desktop", DESKTOP)):
            phone.screenshot(tmp_path / f"two-people-{size}-{theme}.png", pixels, theme)
    program.send(code)
    program.expect(NEXT)
    program.send(bob.approve(bob.next_request()))
    assert program.finish(timeout=30) == 0


@pytest.fixture
def certified(up, tmp_path):
    """Everything, with a rule of two people whom certificates name, and an authority for alice, bob and the principal."""
    stack = up(approvals={"from": ["principal:oncall"], "needed": 2}, codes=[])
    authority = Authority(tmp_path / "authority")
    stack.daemon.write("approvers", authority.line("alice,bob,oncall"))
    return stack, authority


@pytest.mark.openssh
def test_two_people_whom_certificates_name_open_sudo(certified):
    stack, authority = certified
    alice, bob, demo = stack.approver("alice"), stack.approver("bob"), stack.approver("demo")
    made = {user: authority.certify(user, f"{user},oncall") for user in ("alice", "bob", "demo")}
    # Of whom the host knows no certificate, or whom the authority may not name, nobody is asked.
    stack.daemon.write("certificates", made["alice"] + made["demo"])
    question = ("policy", "explain", "--user", "demo", "--service", "sudo")
    online = stack.daemon.command(*question)["online"]
    assert "1 of them has a device here: alice" in online
    assert any('whose device has a certificate with "oncall" beside their name' in line for line in online)
    said = stack.daemon.command("policy", "check", check=False)["advice"]
    assert [one["kind"] for one in said] == ["people"]
    assert "only alice can" in said[0]["text"] and "a certificate for their name and oncall" in said[0]["text"]

    stack.daemon.write("certificates", "".join(made.values()))
    assert not stack.daemon.command("policy", "check")["advice"]
    devices = {one["user"]: one.get("principals", []) for one in stack.daemon.command("devices")["devices"]}
    assert devices == {"alice": ["oncall"], "bob": ["oncall"], "demo": []}
    program = sudo()
    program.expect(FIRST)
    seen = alice.next_request()
    assert seen["approvals"] == {"needed": 2, "from": ["principal:oncall"]}
    program.send(bob.approve(bob.next_request()))
    program.expect(NEXT)
    program.send(alice.approve(seen))
    assert program.finish(timeout=30) == 0
    assert program.lines()[-1] == "0"
    assert demo.requests() == []
    record = last(stack)
    assert record["outcome"] == "granted"
    assert record["certificates"] == [" ".join(made[user].split()[:2]) for user in ("bob", "alice")]


@pytest.mark.openssh
def test_a_certificate_that_ends_before_the_login_does_is_none(certified):
    stack, authority = certified
    alice, bob = stack.approver("alice"), stack.approver("bob")
    made = {user: authority.certify(user, f"{user},oncall") for user in ("alice", "bob")}
    stack.daemon.write("certificates", "".join(made.values()))
    program = sudo()
    program.expect(FIRST)
    codes = [phone.approve(phone.next_request()) for phone in (alice, bob)]
    program.send(codes[0])
    program.expect(r"2 of 2 approved, 1 code is right\. Type the code of the next one: ?$")
    stack.daemon.write("certificates", made["alice"])
    program.send(codes[1])
    program.expect(ACKNOWLEDGE)
    assert "bob is no longer one of those who may approve" in last(stack)["reason"]
    program.send("")
    assert program.give_up() != 0
