"""What a login's process holds for itself while it waits, beside pam_permit's at its end."""

from lab.process import wait_until

from . import duo
from .logins import Held
from .table import limited, number

# At once, so that what they share counts as shared.
PROCESSES = 8
LIMIT = 250


def measure(stage):
    stack = stage.stack()
    watch = stage.answering(stack, watch=True)
    watch.wait_for("connected")
    held = {"permit": Held("permit", PROCESSES), "ours": Held("ours", PROCESSES)}
    watch.wait_for("request", PROCESSES)
    if not duo.missing():
        certificate, key, ca = stage.tls()
        server = duo.DuoServer(certificate, key)
        server.holding.set()
        stage.duo("duo", server, ca)
        held["duo"] = Held("duo", PROCESSES)
        wait_until(lambda: server.held >= PROCESSES, 10, "pam_duo waits for its push")
    kib = {name: logins.private_kib() for name, logins in held.items()}
    for logins in held.values():
        logins.stop()
    over = {name: value - kib["permit"] for name, value in kib.items()}
    # Kilobytes as the design counts them.
    row = limited(
        "login, private memory while waiting, over pam_permit", over["ours"] * 1.024, "kB", LIMIT,
        permit=f"{number(kib['permit'] * 1.024)} kB",
        duo=f"+{number(over['duo'] * 1.024)} kB" if "duo" in over else "not measured",
    )  # fmt: skip
    return [row]
