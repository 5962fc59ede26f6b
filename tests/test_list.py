"""An action with a list, at `countersign approve`: all of it can be read, and nothing is approved before it is there."""

import pytest
from lab.approver import Approver
from lab.fake_host import FakeHost, List
from lab.server import Server

PACKAGES = "".join(f"install package-{number} (1.{number}-1)\n" for number in range(500))
ACTION = {"kind": "action", "service": "ask", "action": "apt.install", "detail": "install 500 packages", "remote": None, "confirm": "tap"}


class Parts:
    """A host that the test plays, and a native approver that is paired with it."""

    def __init__(self, directory):
        self.server = Server(directory / "server")
        self.host = FakeHost(directory / "host", self.server, "db-1")
        self.approver = Approver(directory / "approver")
        pairing = self.host.pairing("alice")
        self.approver.start("--pair", pairing.link, "--name", "laptop")
        pairing.first()
        pairing.second()
        self.approver.wait_for("pairing-code")
        self.device = pairing.third()
        self.approver.wait_for("connected")

    def ask(self, listed):
        return self.host.ask(self.device, id=listed.number, list=listed.described, **ACTION)


@pytest.fixture
def parts(tmp_path, clean):
    parts = Parts(tmp_path)
    yield parts
    parts.approver.stop()


def test_the_whole_list_comes_and_the_request_is_approved(parts):
    listed = List(PACKAGES)
    parts.host.put_list(listed)
    asked = parts.ask(listed)
    request = parts.approver.next_request()
    assert request["list"] == {name: listed.described[name] for name in ("sha256", "bytes", "lines")}
    told = parts.approver.wait_for("list", id=asked.id)
    assert (told["text"], told["lines"], told["sha256"]) == (PACKAGES, 500, listed.described["sha256"])
    parts.approver.approve(request)
    assert parts.host.answer(parts.device, asked)["decision"] == "approve"


def test_nothing_is_approved_without_the_list_and_it_comes_after_a_restart_of_the_server(parts):
    listed = List(PACKAGES)
    asked = parts.ask(listed)
    request = parts.approver.next_request()
    parts.approver.wait_for("notice")
    parts.approver.send(f"a {request['id']}")
    parts.approver.wait_for("notice", message="its list is not here, and nothing is approved without it")
    parts.server.stop()
    parts.server.start()
    parts.host.put_list(listed)
    parts.approver.wait_for("list", seconds=25, id=asked.id)
    assert not parts.approver.all("decided")
    parts.approver.approve(request)
    assert parts.host.answer(parts.device, asked, seconds=20)["decision"] == "approve"


def test_a_list_that_was_changed_is_none_and_may_be_denied(parts):
    listed = List(PACKAGES)
    listed.sealed = listed.sealed[:-1] + bytes([listed.sealed[-1] ^ 1])
    parts.host.put_list(listed)
    asked = parts.ask(listed)
    request = parts.approver.next_request()
    told = parts.approver.wait_for("notice")["message"]
    assert "changed on its way" in told
    parts.approver.send(f"a {request['id']}")
    parts.approver.wait_for("notice", message="its list is not here, and nothing is approved without it")
    parts.approver.decide(request, "deny")
    assert parts.host.answer(parts.device, asked)["decision"] == "deny"
    assert not parts.approver.all("list")
