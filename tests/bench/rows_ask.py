"""What `countersign ask` and the package managers' hook take, from their start until what they guard begins.

A device approves as soon as it has believed the request, and its list where there is one. `sudo -n` stands beside, as what a script
would otherwise have in front of its command.
"""

import os
import statistics
import subprocess
import time

from lab import paths
from lab.repository import AptRoot, Repository

from .table import Row, limited, number

ROUNDS, HOOK_ROUNDS = 30, 5
LIST = 256 * 1024
PACKAGES = 500
# The last one is 5 ms a package.
ASK, WITH_LIST, HOOK = 15, 100, 2_500
# A person approves less often than this.
SERVER = """
[limits]
host_rate = 100000
device_rate = 100000
pair_rate = 100000
"""


def measure(stage):
    config = stage.directory("server.toml")
    config.write_text(SERVER)
    stack = stage.stack(server={"options": ["--config", config]})
    stage.answering(stack).wait_for("connected")
    lines = stage.directory("list")
    lines.write_text(("x" * 63 + "\n") * (LIST // 64))
    ask = [paths.COMMAND, "ask", "--user", "alice", "--action", "bench.run"]
    plain, with_list = [*ask, "--", "true"], [*ask, "--file", lines, "--", "true"]
    took = in_turns({"true": ["true"], "sudo": ["sudo", "-n", "true"], "ask": plain, "list": with_list})
    rows = [
        limited("countersign ask -- true, wall, over true", took["ask"] - took["true"], "ms", ASK),
        Row("… sudo -n true instead", f"{number(took['sudo'] - took['true'])} ms"),
        limited(f"… with a list of {LIST // 1024} KiB", took["list"] - took["true"], "ms", WITH_LIST),
    ]
    # What root does by itself is asked of root.
    stage.answering(stack, user="root").wait_for("connected")
    debs, said = transaction(stage.directory("apt"))
    read = f"cat >/dev/null; for deb in {debs}/*.deb; do dpkg-deb --field $deb Package Version Architecture; done"
    hook = in_turns({"hook": [paths.COMMAND, "package-hook", "apt"], "read": ["sh", "-c", read]}, HOOK_ROUNDS, said)
    return [
        *rows,
        limited(f"apt's hook, {PACKAGES} packages, until dpkg may go on", hook["hook"], "ms", HOOK),
        Row("… dpkg-deb alone, which says what each of them is", f"{number(hook['read'])} ms"),
    ]


def in_turns(commands, rounds=ROUNDS, stdin=None):
    """Medians of how long each takes, in milliseconds."""
    times = {name: [] for name in commands}
    # The first of each finds cold caches.
    for round_ in range(rounds + 1):
        for name, argv in commands.items():
            with open(stdin or os.devnull, "rb") as given:
                began = time.monotonic()
                # Without a terminal: a tap is enough then.
                done = subprocess.run(argv, stdin=given, capture_output=True, text=True, start_new_session=True)
                if round_:
                    times[name].append((time.monotonic() - began) * 1000)
            assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stdout[-500:]}{done.stderr}"
    return {name: statistics.median(some) for name, some in times.items()}


def transaction(directory):
    """The folder of many packages, and a file with what apt says of them to the hook."""
    directory.mkdir()
    repository = Repository(directory / "repository")
    names = [f"package-{one:03}" for one in range(PACKAGES)]
    for name in names:
        repository.add(name)
    repository.publish()
    apt = AptRoot(directory / "root", repository)
    said = directory / "said"
    hook = apt.root / "etc/apt/apt.conf.d/99said"
    hook.write_text(
        f'DPkg::Pre-Install-Pkgs {{ "SAID=apt cat >{said}; exit 1"; }};\n'
        'DPkg::Tools::Options::SAID=apt { Version "3"; InfoFD "0"; };\n'
    )
    apt.apt("install", *names, check=False)
    # apt takes them from where it has put them; without a download that is the repository itself.
    return repository.directory, said
