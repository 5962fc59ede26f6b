"""Two people switch at LightDM's greeter, on a machine that is set up as docs/shared-workstations.md says. It takes pictures of that
document's where COUNTERSIGN_PICTURES says so."""

import json
import subprocess
from pathlib import Path

import pytest
from lab import lightdm, paths, ward
from lab.process import wait_until

pytestmark = pytest.mark.skipif(lightdm.missing, reason="no lightdm on this machine: tests/run --suite bookworm-desktop")
IDLE_LOCK = Path("/etc/X11/Xsession.d/80ward-lock")

# Behind a name the greeter is told what to do, and asked for the code.
SAID_AND_ASKED = 2
# What the pictures show of the screen.
MIDDLE = "480x230"


@pytest.fixture
def seat(up, tmp_path):
    """The seat, and the stack behind it."""
    ward.join()
    for service in ("lightdm", "xsecurelock"):
        ward.guard(service)
    stack = up(codes=None)
    ward.rule(stack)
    for user in ward.PEOPLE:
        lightdm.desktop(user)
    IDLE_LOCK.write_text(ward.block(str(IDLE_LOCK)))
    shown = lightdm.LightDM(tmp_path)
    shown.stack = stack
    yield shown
    shown.stop()
    IDLE_LOCK.unlink()
    ward.leave()


def asked(phone, before, service, user):
    """The one request that has come to the phone since."""
    request = phone.next_request(after=before)
    assert (request["service"], request["user"], request["confirm"]) == (service, user, "code")
    return request


def test_two_people_switch_at_the_greeter(seat, tmp_path):
    alices, bobs = seat.stack.approver("alice"), seat.stack.approver("bob")

    # What doctor says of the files as the document has them.
    argv = [paths.COMMAND, "doctor", "--json", "lightdm", "xsecurelock"]
    said = json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout)
    about = [one for one in said["findings"] if one["severity"] == "would-open" and "lightdm" in json.dumps(one)]
    assert not about and 'lightdm lets in with the phone alone whom "ward desks" names' in said["notes"], said

    # alice logs in: her name, then her phone.
    seat.types("alice", SAID_AND_ASKED)
    request = asked(alices, 0, "lightdm", "alice")
    lightdm.keep(seat, tmp_path, "shared/greeter-name", MIDDLE)
    seat.type(alices.approve(request))
    seat.wait_desktop("alice")
    hers = lightdm.sessions("alice")

    # Her screen locks, as after two minutes, and the seat goes back to a greeter.
    before = seat.pixels()
    seat._run("xset", "s", "activate")
    seat.wait_changed(before)
    her_terminal = seat.activated()[-1]
    switches = len(seat.activated())
    seat.tool("alice", "switch-to-greeter")
    seat.wait_greeter(switches)
    assert seat.activated()[-1] != her_terminal

    # Shift change while a request waits: somebody types alice's name, and leaves.
    seat.types("alice", SAID_AND_ASKED)
    left = asked(alices, 1, "lightdm", "alice")
    # Its button "Cancel".
    seat.press("Tab")
    seat.press("space")
    assert alices.wait_closed(left)["outcome"] == "withdrawn"
    seat.wait_still()

    # bob logs in with his own phone.
    seat.types("bob", SAID_AND_ASKED)
    request = asked(bobs, 0, "lightdm", "bob")
    code = bobs.approve(request)
    seat.type(code)
    seat.wait_desktop("bob")
    lightdm.keep(seat, tmp_path, "shared/greeter-other-session", MIDDLE)
    assert lightdm.sessions("alice") == hers

    # Back to alice's: her phone is asked, and nothing of bob's opens it.
    switches = len(seat.activated())
    seat.tool("bob", "switch-to-greeter")
    seat.wait_greeter(switches)
    seat.types("alice", SAID_AND_ASKED)
    request = asked(alices, 2, "lightdm", "alice")
    # What is typed is looked at once she has decided: her yes does not make it right.
    with seat.prompted():
        seat.type(code)
        hers_now = alices.approve(request)
    lightdm.keep(seat, tmp_path, "shared/greeter-not-your-code", MIDDLE)
    switches = len(seat.activated())
    assert seat.activated()[-1] != her_terminal
    seat.type(hers_now)
    wait_until(lambda: her_terminal in seat.activated()[switches:], 30, f"alice's session; lightdm said:\n{seat.x.log()[-4000:]}")
    # As no terminal is really in front here, LightDM takes the greeter that it ends for that one, and starts another.
    seat.stays_at(her_terminal)
    assert lightdm.sessions("alice") == hers

    # Without logind nobody takes her locker away: it asks her phone as well, and the same again keeps bob out.
    before = seat.pixels()
    seat.press("space")
    unlock = asked(alices, 3, "xsecurelock", "alice")
    seat.wait_changed(before)
    before = seat.pixels()
    seat.type(code)
    seat.wait_changed(before)
    seat.type(alices.approve(unlock))
    seat.wait_desktop("alice")

    # bob's phone has seen his own login, and no more.
    assert [request["user"] for request in bobs.requests()] == ["bob"]
    assert {request["user"] for request in alices.requests()} == {"alice"}
