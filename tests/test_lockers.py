"""Screen lockers: real ones, on screens that nobody sees."""

import time

import pytest
from lab import lockers, screen


@pytest.fixture
def locked(stack, tmp_path):
    """Everything, alice's phone, and a screen of hers that a locker covers: locked(lockers.I3lock)."""
    opened = []

    def lock(kind):
        gone = screen.missing(*kind.programs)
        if gone:
            pytest.skip(f"no {', '.join(gone)}: make deps")
        opened.append(kind(tmp_path / kind.service))
        return opened[-1]

    yield lock


@pytest.mark.parametrize("kind", lockers.ONE_FIELD)
def test_p(stack, locked, kind, tmp_path):
    phone = stack.approver("alice")
    locker = locked(kind)
    locker.screen.picture("/tmp/cs/gr/%s-0.png" % kind.service)
    locker.gives_password()
    request = phone.next_request()
    time.sleep(1)
    locker.screen.picture("/tmp/cs/gr/%s-1.png" % kind.service)
    print(request)
    phone.approve(request)
    locker.wait_unlocked()
    locker.screen.picture("/tmp/cs/gr/%s-2.png" % kind.service)


@pytest.mark.parametrize("kind", (lockers.Xsecurelock, lockers.Xscreensaver))
def test_q(stack, locked, kind, tmp_path):
    phone = stack.approver("alice")
    locker = locked(kind)
    locker.screen.picture("/tmp/cs/gr/%s-0.png" % kind.service)
    locker.gives_password()
    request = phone.next_request()
    time.sleep(1)
    locker.screen.picture("/tmp/cs/gr/%s-1.png" % kind.service)
    print(request)
    locker.screen.type(phone.approve(request))
    locker.wait_unlocked()
    locker.screen.picture("/tmp/cs/gr/%s-2.png" % kind.service)
