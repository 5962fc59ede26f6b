"""What a host adds to a request of its own: that an address is new, where it may be, and the time that its clock shows."""

import json
import subprocess
from pathlib import Path

import pytest
from lab import mmdb, notifications, paths
from lab.accounts import PASSWORDS
from lab.process import Process, wait_until
from lab.terminal import on_terminal_of

PLACES = Path("/etc/countersign-places.mmdb")
LOCALTIME = Path("/etc/localtime")
# Where every client of these tests is, on the table that they use.
BERLIN = mmdb.table({"127.0.0.0/8": mmdb.city("Berlin", "Germany")})
OTHER = ("-b", "127.0.0.2")


@pytest.fixture
def places():
    """Puts a table where the daemon looks for it."""
    yield put
    PLACES.unlink(missing_ok=True)


def put(table):
    PLACES.write_bytes(table)
    PLACES.chmod(0o644)
    return str(PLACES)


@pytest.fixture
def kolkata():
    """The host's clock shows India's time."""
    before = LOCALTIME.readlink()
    LOCALTIME.unlink()
    LOCALTIME.symlink_to("/usr/share/zoneinfo/Asia/Kolkata")
    yield
    LOCALTIME.unlink()
    LOCALTIME.symlink_to(before)


class Logins:
    """Logins of a user by ssh, one after the other."""

    def __init__(self, stack, user="alice"):
        self.user, self.phone, self.client = user, stack.approver(user), stack.client(stack.sshd())

    def login(self, *flags, answer="approve"):
        """One login to its end; returns the request that the phone saw."""
        login = self.client.login(self.user, "echo", "in", flags=flags)
        login.answer_password(PASSWORDS[self.user])
        request = self.phone.next_request(after=len(self.phone.requests()))
        if answer == "approve":
            login.answer_code(self.phone.approve(request))
            assert login.finish() == 0, login.text
        else:
            self.phone.decide(request, answer)
            login.answer_code("")
            assert login.finish() == 255, login.text
        return request

    def context(self, *flags, **how):
        return self.login(*flags, **how).get("context", {})


def faults(daemon):
    """What the daemon's log says of its table."""
    return [line for line in daemon.process.log().splitlines() if "phones are told no places" in line]


def test_an_address_is_new_until_somebody_was_let_in_from_it(stack):
    alice = Logins(stack)
    assert alice.context(answer="deny")["new_source"] is True
    stack.daemon.command("unblock", "alice")
    assert alice.context()["new_source"] is True, "who was refused was not let in"
    assert "new_source" not in alice.context()
    assert alice.context(*OTHER)["new_source"] is True
    assert "new_source" not in alice.context(*OTHER)
    stack.daemon.stop()
    stack.daemon.start()
    alice.phone.wait_for("connected")
    assert "new_source" not in alice.context(), "remembered over a restart"
    assert Logins(stack, "bob").context()["new_source"] is True, "of each user by themselves"


def test_where_nothing_came_over_the_network_nothing_is_new(stack):
    phone = stack.approver("alice")
    sudo = on_terminal_of("alice", "sudo", "-k", "echo", "ran")
    sudo.answer_password(PASSWORDS["alice"])
    request = phone.next_request()
    assert "new_source" not in request["context"] and "place" not in request["context"]
    assert request["context"]["zone"]["offset"] == 0
    sudo.answer_code(phone.approve(request))
    assert sudo.finish() == 0


def test_the_place_and_the_clock_are_told_with_whose_word_they_are(up, places, kolkata):
    stack = up(host={"geoip": places(BERLIN)})
    context = Logins(stack).context()
    assert context["place"] == {"text": "Berlin, Germany", "source": "geoip"}
    assert context["zone"] == {"name": "Asia/Kolkata", "offset": 330}
    assert faults(stack.daemon) == []
    # The request that was signed is the evidence, and `audit show` hands it out.
    record = next(record for record in stack.daemon.audit() if "request" in record)
    assert json.loads(record["request"])["context"] == context
    argv = [paths.COMMAND, "audit", "show", str(record["seq"]), "--file", stack.daemon.state / "audit" / "audit.jsonl"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "Berlin, Germany" in shown and "Asia/Kolkata" in shown, shown


@pytest.mark.skipif(bool(notifications.missing()), reason="no desktop notifications here: make deps")
def test_a_laptop_and_a_terminal_show_them_labelled_and_nothing_in_them_acts(up, places, kolkata, tmp_path):
    name = "<b>Berlin</b> http://x.test"
    stack = up(host={"geoip": places(mmdb.table({"127.0.0.0/8": mmdb.city(name, "Germany")}))})
    laptop = stack.approver("alice", "laptop")
    laptop.stop()
    desktop = notifications.Desktop(tmp_path / "desktop")
    argv = [paths.COMMAND, "approve", "--home", laptop.home, "--notify", "--plain"]
    approver = Process("approver", argv, tmp_path / "approver.log", env=desktop.environment)
    approver.wait_for("connected")
    login = stack.client(stack.sshd()).login("alice", "echo", "in")
    login.answer_password(PASSWORDS["alice"])
    _, body = desktop.wait_shown("alice wants to log in")
    source = "(by the machine's own table; may be wrong)"
    # What a notification service would draw as markup, or make into a link, is text.
    assert f"place: &lt;b&gt;Berlin&lt;/b&gt; http:\u2060//x.test, Germany {source}" in body
    assert "new: first time from this address" in body
    assert " there (UTC+5:30, Asia/Kolkata)" in body
    approver.wait_for(f"place {name}, Germany {source}; new first time from this address; service sshd")
    login.kill()


def test_a_table_that_cannot_be_used_stops_no_login_and_is_said_once(up, places):
    stack = up(host={"geoip": places(b"this is no table")})
    alice = Logins(stack)
    assert "place" not in alice.context()
    assert "place" not in alice.context()
    assert len(faults(stack.daemon)) == 1, stack.daemon.process.log()
    assert str(PLACES) in faults(stack.daemon)[0]
    assert stack.daemon.status()["config_faults"] == []
    put(BERLIN)
    take_again(stack.daemon)
    assert alice.context()["place"]["text"] == "Berlin, Germany"
    # One that breaks while it is in use.
    with PLACES.open("r+b") as file:
        file.truncate(1)
    assert "place" not in alice.context()
    PLACES.unlink()
    take_again(stack.daemon)
    assert "place" not in alice.context()
    assert len(faults(stack.daemon)) == 2


def take_again(daemon):
    before = len(daemon.process.log())
    daemon.reload()
    wait_until(lambda: "read again" in daemon.process.log()[before:], 5, "the policy is in force")
