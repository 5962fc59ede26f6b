"""What a login costs the process that logs in, from pam_start to pam_end, beside pam_permit and pam_duo."""

import statistics

from . import duo
from .logins import find, instructions, system_calls, take_turns
from .stats import awake, cpu_seconds
from .table import Row, limited, number

ROUNDS = 60
# They always say the same, nearly.
COUNTED = 3
WALL, CPU, CALLS, INSTRUCTIONS = 1.5, 0.4, 60, 500_000


def measure(stage):
    stack = stage.stack()
    stage.answering(stack).wait_for("connected")
    services = ["permit", "ours"]
    if not duo.missing():
        certificate, key, ca = stage.tls()
        stage.duo("duo", duo.DuoServer(certificate, key), ca)
        stage.duo("duo-quick", duo.DuoServer(certificate, key, quickly=True), ca)
        services += ["duo", "duo-quick"]
    take_turns(services, 3)
    parts = {"daemon": stack.daemon.process.pid, "server": stack.server.process.pid}
    before = {name: cpu_seconds(pid) for name, pid in parts.items()}
    costs = take_turns(services, ROUNDS)
    work = {name: (cpu_seconds(pid) - before[name]) / ROUNDS * 1000 for name, pid in parts.items()}
    permit, ours = costs["permit"], costs["ours"]
    with awake():
        wakeful = take_turns(["permit", "ours"], ROUNDS)
    over = {name: cost.cpu - permit.cpu for name, cost in costs.items()}
    rows = [
        limited(
            "login, wall, over pam_permit", ours.wall - permit.wall, "ms", WALL,
            permit=f"{number(permit.wall)} ms", duo=_over(costs, "duo", lambda cost: cost.wall - permit.wall),
        ),
        Row(
            "… without the peer's delayed ACKs", "", duo=_over(costs, "duo-quick", lambda cost: cost.wall - permit.wall)
        ),
        Row(
            f"… quickest of {ROUNDS}", f"{number(ours.quickest - permit.quickest)} ms",
            permit=f"{number(permit.quickest)} ms", duo=_over(costs, "duo", lambda cost: cost.quickest - permit.quickest),
        ),
        # What is left then is work, ours and the device's; the rest of the row above is the machine's.
        Row(
            "… while no processor sleeps", f"{number(wakeful['ours'].wall - wakeful['permit'].wall)} ms",
            permit=f"{number(wakeful['permit'].wall)} ms",
        ),
        Row(
            "login, wall, slowest", f"{number(ours.slowest)} ms", permit=f"{number(permit.slowest)} ms",
            duo=_over(costs, "duo", lambda cost: cost.slowest),
        ),
        limited(
            "login, CPU of its process, over pam_permit", over["ours"], "ms", CPU,
            permit=f"{number(permit.cpu)} ms", duo=_over(costs, "duo", lambda cost: cost.cpu - permit.cpu),
        ),
        # With its end, which nobody waits for.
        Row("login, CPU of the daemon, whole", f"{number(work['daemon'])} ms"),
        Row("login, CPU of the server, whole, with TLS", f"{number(work['server'])} ms"),
    ]  # fmt: skip
    counted = [name for name in services if name != "duo-quick"]
    directory = stage.directory("counts")
    directory.mkdir()
    for what, count, program, limit in (
        ("login, system calls, over pam_permit", lambda name: len(system_calls(name, directory)), "strace", CALLS),
        ("login, instructions, over pam_permit", lambda name: instructions(name, directory), "valgrind", INSTRUCTIONS),
    ):
        if not find(program):
            rows.append(Row(what, f"not measured: no {program}"))
            continue
        counts = {name: int(statistics.median(count(name) for _ in range(COUNTED))) for name in counted}
        base = counts["permit"]
        others = {"permit": number(base), "duo": f"+{number(counts['duo'] - base)}" if "duo" in counts else ""}
        rows.append(limited(what, counts["ours"] - base, "", limit, **others))
    return rows


def _over(costs, name, value):
    return f"+{number(value(costs[name]))} ms" if name in costs else "not measured"
