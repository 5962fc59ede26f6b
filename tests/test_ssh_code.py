"""ssh with keyboard-interactive: the password, then the six digits that the device shows."""

import signal
import time

import pytest

pytestmark = pytest.mark.openssh

PASSWORD = "alice-password"


def wrong(code):
    """Six digits that are not the code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


@pytest.fixture
def parts(stack):
    sshd = stack.sshd()
    return stack, stack.approver("alice"), stack.client(sshd)


def test_an_approval_and_its_code_open(parts):
    stack, phone, client = parts
    login = client.login("alice", "id", "-un")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    login.answer_code(phone.approve(request))
    assert login.finish() == 0
    assert login.lines()[-1] == "alice"
    assert phone.wait_closed(request)["outcome"] == "approved"


def test_the_device_is_shown_who_what_and_from_where(parts):
    stack, phone, client = parts
    login = client.login("alice", "true")
    login.answer_password(PASSWORD)
    shown = phone.next_request()
    assert shown["user"] == "alice"
    assert shown["service"] == "sshd"
    assert shown["remote"]["address"] == "127.0.0.1"
    # The connection's own word, not what sshd passes on.
    assert shown["remote"]["source"] == "kernel"
    login.kill()


def test_a_wrong_password_never_rings(parts):
    _, phone, client = parts
    login = client.login("alice", "true")
    login.answer_password("not-the-password")
    assert login.finish() == 255
    assert phone.requests() == []


def test_a_wrong_code_does_not_open_and_the_right_one_after_it_does(parts):
    _, phone, client = parts
    login = client.login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    code = phone.approve(phone.next_request())
    login.answer_code(wrong(code))
    login.answer_code(code)
    assert login.finish() == 0


def test_a_code_typed_before_anything_was_approved_does_not_open(parts):
    _, phone, client = parts
    login = client.login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    login.answer_code("123456")
    # Whatever is asked next, nothing opened and the request is still there to be denied.
    phone.decide(request, "deny")
    login.send("")
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] in ("denied", "failed")


def test_three_wrong_codes_end_the_login(parts):
    _, phone, client = parts
    login = client.login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    code = phone.approve(request)
    for _ in range(3):
        login.answer_code(wrong(code))
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] == "failed"


@pytest.mark.parametrize(("answer", "outcome"), [("deny", "denied"), ("report", "reported")])
def test_a_refusal_on_the_device_refuses(parts, answer, outcome):
    stack, phone, client = parts
    login = client.login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    phone.decide(request, answer)
    login.answer_code("")
    assert login.finish() == 255
    assert phone.wait_closed(request)["outcome"] == outcome
    assert "Denied on the phone" in login.text
    assert ("reported" in login.text) == (answer == "report")


def test_nobody_decides(up):
    stack = up(wait="5s")
    sshd, phone = stack.sshd(), stack.approver("alice")
    login = stack.client(sshd).login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    assert phone.wait_closed(request, seconds=8)["outcome"] == "expired"
    # Whoever only now finds the phone has it rung once more.
    login.answer_code("")
    again = phone.next_request(after=1)
    assert again["id"] != request["id"]
    assert phone.wait_closed(again, seconds=8)["outcome"] == "expired"
    login.answer_code("")
    assert login.finish() == 255
    assert "Nobody approved in time" in login.text


def test_an_approval_after_the_end_opens_nothing(up):
    stack = up(wait="5s")
    sshd, phone = stack.sshd(), stack.approver("alice")
    login = stack.client(sshd).login("alice", "echo", "in")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    time.sleep(5.5)
    phone.send(f"a {request['id']}")
    login.answer_code("123456")
    login.expect(r"Press Enter to ring the phone again: ?$")
    login.kill()
    assert phone.all("decided") == []


def test_the_code_of_one_login_does_not_open_the_other(stack):
    sshd = stack.sshd()
    alice, bob = stack.approver("alice"), stack.approver("bob")
    client = stack.client(sshd)
    first = client.login("alice", "id", "-un")
    first.answer_password(PASSWORD)
    second = client.login("bob", "id", "-un")
    second.answer_password("bob-password")
    code_alice, code_bob = alice.approve(alice.next_request()), bob.approve(bob.next_request())
    if code_alice == code_bob:
        pytest.skip("both devices drew the same six digits (one in a million)")
    first.answer_code(code_bob)
    second.answer_code(code_alice)
    # Neither is in; each opens with its own.
    first.answer_code(code_alice)
    second.answer_code(code_bob)
    assert (first.finish(), second.finish()) == (0, 0)
    assert first.lines()[-1] == "alice"
    assert second.lines()[-1] == "bob"


def test_two_logins_of_one_person_do_not_share_a_code(parts):
    _, phone, client = parts
    first = client.login("alice", "echo", "first")
    first.answer_password(PASSWORD)
    one = phone.next_request()
    second = client.login("alice", "echo", "second")
    second.answer_password(PASSWORD)
    two = phone.next_request(after=1)
    assert one["id"] != two["id"]
    code = phone.approve(two)
    first.answer_code(code)
    # The first login was not approved: its prompt comes again, or it was replaced by the second.
    first.kill()
    second.answer_code(code)
    assert second.finish() == 0
    assert "first" not in first.text


@pytest.mark.quiet
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killing_ssh_withdraws_the_prompt_within_a_second(parts, how):
    _, phone, client = parts
    login = client.login("alice", "true")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    killed = time.monotonic()
    login.child.kill(how)
    closed = phone.wait_closed(request)
    assert closed["outcome"] == "withdrawn"
    assert closed["seen"] - killed < 1.0


def test_a_user_without_a_device_sees_the_same_prompts_and_is_refused(up):
    stack = up(wait="5s")
    phone, client = stack.approver("alice"), stack.client(stack.sshd())
    screens = []
    for user in ("alice", "bob"):
        login = client.login(user, "true")
        login.answer_password(f"{user}-password")
        login.answer_code("123456")
        login.expect(r"Press Enter to ring the phone again: ?$")
        screens.append(login.text.replace(user, "USER"))
        login.kill()
    assert screens[0] == screens[1]
    assert {request["user"] for request in phone.requests()} == {"alice"}


def test_the_key_and_then_the_code(stack):
    sshd = stack.sshd(AuthenticationMethods="publickey,keyboard-interactive")
    phone = stack.approver("alice")
    client = stack.client(sshd, "alice")
    login = client.login("alice", "id", "-un", method="publickey,keyboard-interactive")
    login.answer_password(PASSWORD)
    request = phone.next_request()
    fingerprint = client.fingerprint()
    assert request["ssh_key"]["fingerprint"] == fingerprint
    login.answer_code(phone.approve(request))
    assert login.finish() == 0
    # The session stage asked nothing more.
    assert len(phone.requests()) == 1


def test_nobody_is_asked_twice(parts):
    """The grant of the auth stage is redeemed in the session stage."""
    _, phone, client = parts
    login = client.login("alice", "env")
    login.answer_password(PASSWORD)
    login.answer_code(phone.approve(phone.next_request()))
    assert login.finish() == 0
    assert len(phone.requests()) == 1
    # And nothing of it is left in the person's environment.
    assert "COUNTERSIGN" not in login.text
