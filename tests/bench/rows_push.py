"""How long a phone takes to ring: from the host's post to the notification on the desktop, in Firefox, all on loopback."""

import statistics
import time

from lab.firefox import missing
from lab.notifications import Desktop
from lab.notifications import missing as missing_desktop
from lab.process import Process, wait_until
from lab.pushservice import PushService

from .table import Row, limited

ROUNDS = 24


class Watch:
    """When notifications are asked for, by the bus's own clock."""

    def __init__(self, desktop):
        rule = "interface=org.freedesktop.Notifications,member=Notify"
        argv = ["dbus-monitor", "--profile", "--address", desktop.environment["DBUS_SESSION_BUS_ADDRESS"], rule]
        self._process = Process("dbus-monitor", argv, desktop.directory / "watch.log")
        wait_until(lambda: "#type" in self._process.log(), 10, "the bus is watched")

    def times(self):
        """Seconds since 1970 of each."""
        lines = [line.split("\t") for line in self._process.log().splitlines()]
        return [float(line[1]) for line in lines if len(line) > 7 and line[7] == "Notify"]


def measure(stage):
    lacking = [name for name in (missing(), *missing_desktop()) if name]
    if lacking:
        return [Row("host's post to notification", f"not measured: no {', '.join(lacking)}", budget="≤ 150 ms")]
    from test_push import Played

    directory = stage.directory("push")
    push, desktop = PushService(directory / "push"), Desktop(directory / "desktop")
    played = Played(directory, push, desktop)
    watch = Watch(desktop)
    whole, service = [], []
    for number in range(ROUNDS):
        before = len(watch.times())
        started = time.time()
        asked = played.host.ask(played.device, user=f"user{number}")
        shown = wait_until(lambda count=before: watch.times()[count:], 15, "a notification", interval=0.005)[0]
        whole.append(shown - started)
        service.append(shown - push.pushes()[-1]["at"] / 1000)
        played.host.close(played.device, asked, "withdrawn")
        wait_until(lambda count=before: len(watch.times()) >= count + 2, 15, "its end", interval=0.005)
    played.phone.close()
    push.stop()
    # The first push opens a connection and starts the service worker.
    rest = sorted(whole[1:])
    return [
        limited("host's post to notification, median", statistics.median(rest) * 1000, "ms", 150),
        Row("host's post to notification, slowest", f"{rest[-1] * 1000:.0f} ms"),
        Row("host's post to notification, the first", f"{whole[0] * 1000:.0f} ms"),
        Row("push service to notification, median", f"{statistics.median(service[1:]) * 1000:.0f} ms"),
    ]
