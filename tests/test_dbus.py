"""`org.countersign.Countersign1` on a real system bus, with a real polkitd: who may do what, and that nothing approves."""

import os
import re
import signal
import time
import xml.etree.ElementTree as ElementTree

import pytest
from lab import paths, systembus
from lab.approver import Approver
from lab.process import wait_until
from lab.systembus import ERROR, NAME, OURS, PATH, SystemBus
from lab.terminal import on_terminal_of

PASSWORD = "alice-password"
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"
NOT_AUTHORIZED, NOT_FOUND, DOWN = f"{ERROR}.NotAuthorized", f"{ERROR}.NotFound", f"{ERROR}.DaemonDown"

pytestmark = pytest.mark.skipif(bool(systembus.missing()), reason=f"no {', '.join(systembus.missing())}: make deps")

# Each method with the parameters with which bob asks for alice's things, and for everybody's. A method that is not here fails.
OF_OTHERS = {
    "ListRequests": [("s", "alice"), ("s", "*"), ("s", "root"), ("s", "nobody-of-that-name")],
    "CancelRequest": [("s", "0123456789abcdef")],
    "ListDevices": [("s", "alice"), ("s", "*")],
    "RemoveDevice": [("ss", "alice", "phone")],
    "StartPairing": [("sb", "alice", False), ("sb", "alice", True), ("sb", "", True), ("sb", "bob", True)],
    "ListLeases": [("s", "alice"), ("s", "*")],
    "EndLeases": [("ss", "alice", ""), ("ss", "*", "")],
    "CodesLeft": [("s", "alice")],
    "NewRecoveryCodes": [("sy", "alice", 5), ("sy", "bob", 5), ("sy", "", 5)],
    "NewOnceCode": [("sus", "alice", 600, "x"), ("sus", "bob", 600, "x"), ("sus", "", 600, "x")],
    "NewAuthenticator": [("s", "alice"), ("s", "bob"), ("s", "")],
    "StartTestLogin": [("ss", "alice", "sudo"), ("ss", "root", "sudo")],
    "Subscribe": [("s", "alice"), ("s", "*")],
}
# What goes on with a conversation of the same caller, and is nothing without one.
OF_A_CONVERSATION = {
    "EnterApprovalCode": ("s", "123456"),
    "WaitForDevice": (),
    "EnterPairingCode": ("s", "123456"),
    "RingDevice": (),
    "StopPairing": (),
    "ContinueTestLogin": ("s", "123456"),
    "StopTestLogin": (),
    "Unsubscribe": (),
}
# Every object's, as the bus has them.
OF_ALL = {INTROSPECTABLE: {"Introspect"}, PROPERTIES: {"Get", "GetAll", "Set"}, PEER: {"Ping", "GetMachineId"}}
READABLE = {
    "Version", "Host", "HostKey", "Server", "Connected", "Trouble", "Waiting", "Devices", "ConfigFaults", "ApproverFaults",
}  # fmt: skip


@pytest.fixture
def bus(tmp_path):
    return SystemBus(tmp_path / "bus")


def sudo():
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password(PASSWORD)
    return run


def described():
    """The interface as it is committed."""
    return ElementTree.parse(OURS / f"{NAME}.xml").getroot().find(f"interface[@name='{NAME}']")


def names(interface, kind):
    return {member.get("name") for member in interface.findall(kind)}


def test_who_is_no_administrator_gets_nothing_of_others_by_any_method_or_property(stack, bus):
    stack.approver("alice")
    stack.daemon.command("codes", "alice", "--recovery", "--count", "3")
    bob = bus.caller("bob")
    text = bob.call("Introspect", interface=INTROSPECTABLE)
    assert text == (OURS / f"{NAME}.xml").read_text()
    interface = ElementTree.fromstring(text).find(f"interface[@name='{NAME}']")
    before = len(stack.daemon.audit())

    assert names(interface, "method") == set(OF_OTHERS) | set(OF_A_CONVERSATION)
    for method, calls in OF_OTHERS.items():
        for arguments in calls:
            # Also where polkit could ask for a password: there is nobody to type one.
            for interactive in (False, True):
                error = bob.refused(method, *arguments, interactive=interactive)
                assert error.name == NOT_AUTHORIZED, (method, arguments, error)
                assert error.text and "\n" not in error.text
        assert bob.refused(method, "t", 1).name == "org.freedesktop.DBus.Error.InvalidArgs"
    for method, arguments in OF_A_CONVERSATION.items():
        assert bob.refused(method, *arguments).name == NOT_FOUND, method

    assert names(interface, "property") == READABLE
    everything = bob.call("GetAll", "s", NAME, interface=PROPERTIES)
    assert set(everything) == READABLE
    for name in READABLE:
        assert bob.get(name) == everything[name]
        error = bob.refused("Set", "ssv", NAME, name, ("s", "x"), interface=PROPERTIES)
        assert error.name == "org.freedesktop.DBus.Error.PropertyReadOnly"
    assert (everything["Host"], everything["Connected"], everything["Devices"]) == ("lab", True, 1)

    assert set(OF_ALL) == {interface.get("name") for interface in ElementTree.fromstring(text)} - {NAME}
    for other, methods in OF_ALL.items():
        assert names(ElementTree.fromstring(text).find(f"interface[@name='{other}']"), "method") == methods
    assert bob.call("Ping", interface=PEER) == ()
    assert len(bob.call("GetMachineId", interface=PEER)) == 32
    for method in ("Approve", "Decide", "AnswerRequest"):
        assert bob.refused(method, "s", "x").name == "org.freedesktop.DBus.Error.UnknownMethod"
    assert bob.refused("ListDevices", "s", "x" * 5000).name == "org.freedesktop.DBus.Error.InvalidArgs"
    assert bob.refused("ListDevices", "s", "x" * 400).name == f"{ERROR}.BadCall"
    # Nothing was done, and nothing is pending.
    assert len(stack.daemon.audit()) == before
    assert stack.daemon.command("codes", "alice")["left"] == 3
    assert [device["name"] for device in stack.daemon.command("devices")["devices"]] == ["phone"]
    with pytest.raises(systembus.Refused, match="AccessDenied"):
        bob.ask_bus("RequestName", "su", NAME, 4)


def test_one_sees_and_cancels_ones_own_login_and_nobody_elses(stack, bus):
    phone = stack.approver("alice")
    alice, bob = bus.caller("alice"), bus.caller("bob")
    alice.call("Subscribe", "s", "")
    bob.call("Subscribe", "s", "")
    run = sudo()
    request = phone.next_request()
    opened = alice.signal("RequestOpened")
    assert (opened["id"], opened["user"], opened["service"]) == (request["id"], "alice", "sudo")
    assert [one["id"] for one in alice.call("ListRequests", "s", "")] == [request["id"]]
    assert bob.call("ListRequests", "s", "") == []
    assert bob.refused("CancelRequest", "s", request["id"]).name == NOT_AUTHORIZED
    assert alice.get("Waiting") == 1
    assert alice.call("CancelRequest", "s", request["id"])["id"] == request["id"]
    assert alice.signal("RequestClosed") == [request["id"], "alice", "withdrawn"]
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    run.send("")
    assert run.give_up() != 0
    assert "cancelled" in run.text and "ran" not in run.lines()
    assert alice.refused("CancelRequest", "s", request["id"]).name == NOT_AUTHORIZED
    events = [record["event"] for record in stack.daemon.audit()]
    assert events[-2:] == ["request-cancelled", "login"], events
    assert stack.daemon.audit()[-1]["outcome"] == "withdrawn"
    assert not [signal for signal in bob.heard() if signal[0].startswith("Request")]
    # As the command does it.
    run = sudo()
    id = phone.next_request(after=1)["id"]
    assert [one["id"] for one in stack.daemon.command("requests")["requests"]] == [id]
    assert stack.daemon.command("requests", "--cancel", id[:8])["user"] == "alice"
    assert stack.daemon.command("requests")["requests"] == []
    run.kill()


def test_an_administrator_does_with_others_things_what_polkit_lets_them(stack, bus):
    phone = stack.approver("alice")
    bus.allow({("bob", "view-all"): "YES", ("bob", "make-codes"): "YES", ("bob", "remove-device"): "YES"})
    bus.restart_polkit()
    bob = bus.caller("bob")
    bob.call("Subscribe", "s", "*")
    assert [device["name"] for device in bob.call("ListDevices", "s", "alice")] == ["phone"]
    codes = bob.call("NewRecoveryCodes", "sy", "alice", 4)
    assert len(codes) == 4 and bob.call("CodesLeft", "s", "alice")["left"] == 4
    once, _ = bob.call("NewOnceCode", "sus", "alice", 600, "phone lost")
    assert len(once) == len(codes[0])
    records = stack.daemon.audit()[-2:]
    assert all(f"user {systembus.uid('bob')} as an administrator" in record["reason"] for record in records), records
    # One action is not the other.
    assert bob.refused("StartPairing", "sb", "alice", True).name == NOT_AUTHORIZED
    removed, still_anothers = bob.call("RemoveDevice", "ss", "alice", "phone")
    assert [device["user"] for device in removed] == ["alice"] and not still_anothers
    assert bob.signal("DeviceRemoved")["fingerprint"] == removed[0]["fingerprint"]
    changed = bob.signal("PropertiesChanged", where=lambda body: body[1].get("Devices") == 0)
    assert changed[0] == NAME
    phone.stop()


def test_a_user_pairs_one_more_device_with_the_approval_of_the_first(stack, bus, tmp_path):
    phone = stack.approver("alice")
    alice = bus.caller("alice")
    alice.call("Subscribe", "s", "")
    step = alice.call("StartPairing", "sb", "", False)
    assert step["step"] == "approve" and "link" not in step
    code = phone.approve(phone.next_request())
    step = alice.call("EnterApprovalCode", "s", f"{(int(code) + 1) % 1_000_000:06d}")
    assert (step["step"], step["tries"]) == ("approve", 2)
    step = alice.call("EnterApprovalCode", "s", code)
    assert step["step"] == "opened"
    waiting = alice.send("WaitForDevice")
    tablet = Approver(tmp_path / "tablet", "tablet").start("--pair", step["link"], "--name", "tablet")
    assert alice.answer(waiting)["name"] == "tablet"
    checked = alice.call("EnterPairingCode", "s", tablet.wait_for("pairing-code")["code"])
    assert (checked["result"], checked["user"]) == ("paired", "alice")
    assert alice.signal("DevicePaired")["name"] == "tablet"
    tablet.stop()

    # Who leaves the bus takes their question along.
    other = bus.caller("alice")
    other.call("StartPairing", "sb", "", False)
    request = phone.next_request(after=1)
    other.leave()
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    # And who stops theirs is heard where another call waits.
    other = bus.caller("alice")
    other.call("StartPairing", "sb", "alice", False)
    waiting = other.send("EnterApprovalCode", "s", "")
    assert other.refused("EnterApprovalCode", "s", "").name == f"{ERROR}.Busy"
    other.call("StopPairing")
    with pytest.raises(systembus.Refused, match="Stopped"):
        other.answer(waiting)


def test_a_test_login_goes_to_its_end_and_gives_nothing_away(stack, bus):
    phone = stack.approver("alice")
    alice = bus.caller("alice")
    step = alice.call("StartTestLogin", "ss", "", "sshd")
    assert step["step"] == "ask"
    code = phone.approve(phone.next_request())
    assert alice.call("ContinueTestLogin", "s", code) == {"step": "verdict", "outcome": "granted"}
    assert alice.refused("ContinueTestLogin", "s", code).name == NOT_FOUND
    alice.call("StartTestLogin", "ss", "alice", "sudo")
    request = phone.next_request(after=1)
    alice.call("StopTestLogin")
    assert phone.wait_closed(request)["outcome"] == "withdrawn"


def test_without_the_daemon_it_is_said_and_subscribers_hear_of_it(stack, bus):
    alice = bus.caller("alice")
    alice.call("Subscribe", "s", "")
    alice.signal("PropertiesChanged")
    stack.daemon.stop()
    alice.signal("EventsLost")
    assert "Connected" in alice.signal("PropertiesChanged", where=lambda body: body[2])[2]
    for call in (lambda: alice.get("Connected"), lambda: alice.call("ListDevices", "s", "")):
        with pytest.raises(systembus.Refused) as refused:
            call()
        assert refused.value.name == DOWN and "systemctl status countersignd" in refused.value.text
    other = bus.caller("bob")
    assert other.refused("Subscribe", "s", "").name == DOWN
    stack.daemon.start()
    alice.signal("PropertiesChanged", where=lambda body: "Version" in body[1])
    assert alice.get("Host") == "lab"


def test_without_polkit_nothing_is_done(stack, bus):
    stack.approver("alice")
    bus.polkit.stop()
    alice = bus.caller("alice")
    for method, arguments in (("ListDevices", ("s", "")), ("RemoveDevice", ("ss", "", "phone")), ("NewAuthenticator", ("s", ""))):
        assert alice.refused(method, *arguments).name == f"{ERROR}.NoAuthority"
    assert alice.get("Devices") == 1


def test_the_bus_starts_it_and_it_leaves_when_nobody_is_left(stack, tmp_path):
    bus = SystemBus(tmp_path / "bus", idle=1)
    assert bus.service() is None
    alice = bus.caller("alice")
    assert alice.call("ListDevices", "s", "") == []
    first = bus.service()
    assert first is not None
    # Whoever has called may want to hear of something: it stays for them.
    other = bus.caller("bob")
    other.get("Version")
    other.leave()
    alice.heard()
    wait_until(lambda: bus.service() == first, 3, "it stays")
    alice.leave()
    wait_until(lambda: bus.service() is None, 10, "it leaves when nobody is left")
    assert bus.caller("alice").get("Host") == "lab"
    assert bus.service() not in (None, first)
    assert "panicked" not in bus.log.read_text()


def test_what_others_throw_at_it_neither_keeps_it_nor_breaks_it(stack, tmp_path):
    bus = SystemBus(tmp_path / "bus", idle=1)
    alice, bob = bus.caller("alice"), bus.caller("bob")
    alice.get("Version")
    service, name = bus.service(), alice.owner(NAME)
    alice.leave()
    # It hears of that at once. More than it takes in at a time lies before it when its second is over and it is about to leave.
    time.sleep(0.3)
    os.kill(service, signal.SIGSTOP)
    bob.throw(name, 1000, 10)
    time.sleep(1.2)
    began = time.monotonic()
    os.kill(service, signal.SIGCONT)
    while bus.service() == service:
        # Nor does it stay for more of it.
        bob.throw(name, 10, 10)
        assert time.monotonic() - began < 4, "it leaves"
        time.sleep(0.02)
    assert bus.log.read_text() == ""
    assert bob.get("Host") == "lab"


def test_a_subscriber_that_does_not_read_keeps_nothing_from_the_others(stack, tmp_path):
    bus = SystemBus(tmp_path / "bus", pending=500_000)
    phone = stack.approver("alice")
    deaf, alice, root = bus.caller("alice"), bus.caller("alice"), bus.caller("root")
    for one in (deaf, alice):
        one.call("Subscribe", "s", "")
    # Its socket and its place at the bus are full.
    root.throw(deaf.unique_name(), 300, 8000)
    # The bus has taken them all when it answers.
    assert root.owner(NAME)
    # It calls all the same, and takes no answers.
    for _ in range(500):
        deaf.send("ListRequests", "s", "")
    service = bus.service()
    request = None
    for number in range(3):
        run = sudo()
        request = phone.next_request(after=number)
        assert alice.signal("RequestOpened")["id"] == request["id"]
        run.kill()
        assert alice.signal("RequestClosed")[0] == request["id"]
    assert alice.get("Waiting") == 0
    assert bus.service() == service and bus.log.read_text() == ""


def test_removing_ones_own_device_takes_ones_own_password(stack, bus):
    stack.approver("alice", "old-phone")
    # Without anybody to ask it is refused.
    assert bus.caller("alice").refused("RemoveDevice", "ss", "", "old-phone").name == NOT_AUTHORIZED
    for password, status in (("not-it", 1), (PASSWORD, 0)):
        # As a desktop has it: one program asks, and another one of the same person types the password.
        call = f"busctl call {NAME} {PATH} {NAME} RemoveDevice ss '' old-phone"
        program = on_terminal_of("alice", "sh", "-c", f"echo process $$.; read go; exec {call}", timeout=20)
        program.expect(r"process (\d+)\.")
        watch = f"exec 3> >(cat; echo registered); exec pkttyagent --process {program.child.match.group(1)} --notify-fd 3"
        agent = on_terminal_of("alice", "bash", "-c", watch, timeout=20)
        agent.expect("registered")
        program.send("go")
        agent.expect("remove a device that approves your logins")
        agent.answer_password(password)
        assert program.finish() == status, program.text
        agent.kill()
        assert len(stack.daemon.command("devices")["devices"]) == (1 if status else 0)


def test_the_documents_first_program_does_what_it_says(stack, bus, tmp_path):
    text = (paths.REPOSITORY / "docs/dbus.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    phone = stack.approver("alice")
    applet = on_terminal_of("alice", "/usr/bin/python3", "-c", program, timeout=20)
    applet.expect("connected\r\n")
    run = sudo()
    request = phone.next_request()
    applet.expect(r"waits: sudo for alice from this machine\r\n")
    phone.decide(request, "deny")
    applet.expect(r"over: denied\r\n")
    run.kill()
    # The service is replaced beneath it.
    before = bus.service()
    os.kill(before, signal.SIGTERM)
    wait_until(lambda: bus.service() not in (None, before), 10, "it is started again, by its subscriber")
    unknown = "it is not known whether connected\r\n"
    applet.expect(unknown)
    applet.expect("connected\r\n")
    stack.daemon.stop()
    applet.expect(unknown)
    applet.expect(rf"{ERROR}\.DaemonDown: .*systemctl status countersignd\r\n")
    stack.daemon.start()
    applet.expect("connected\r\n")
    assert "Traceback" not in applet.text


def test_what_is_installed_belongs_together():
    """Every action that the service asks for is defined, and every one that is defined is asked for."""
    policy = ElementTree.parse(OURS / f"{NAME}.policy").getroot()
    defined = {action.get("id").removeprefix(f"{NAME}.") for action in policy.findall("action")}
    source = (paths.REPOSITORY / "cli/src/dbus/methods.rs").read_text()
    assert {action for action in defined if f'"{action}"' in source} == defined
    guide = (paths.REPOSITORY / "docs/dbus.md").read_text()
    assert {action for action in defined if f"`{action}`" in guide} == defined
    assert {name for name in names(described(), "method") if f"`{name}`" in guide} == names(described(), "method")
    for kind in ("signal", "property"):
        assert {name for name in names(described(), kind) if f"`{name}`" in guide} == names(described(), kind)
    for action in policy.findall("action"):
        kinds = {action.find(f"defaults/allow_{kind}").text for kind in ("any", "inactive", "active")}
        # What does not end in "own" of some kind takes an administrator.
        assert "own" in action.get("id") or kinds <= {"auth_admin", "auth_admin_keep"}, action.get("id")
