"""`make bench` still measures: a part of it, with few rounds, and without what only it installs and builds."""

import importlib
import os
import re
import resource
import runpy
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import duo, rows_idle, rows_login, stage
from lab import accounts, pam

ROUNDS = 2
NUMBER = re.compile(r"-?[\d,.]+( ms| MiB| s an hour|)")


class Hands:
    """A device that approves all that comes, in place of the program that only `make bench` builds."""

    def __init__(self, approver):
        self._approver, self._over, self._failed = approver, threading.Event(), None
        self._thread = threading.Thread(target=self._approve)
        self._thread.start()

    def _approve(self):
        done = 0
        try:
            while not self._over.is_set():
                for request in self._approver.requests()[done:]:
                    self._approver.approve(request)
                    done += 1
                time.sleep(0.005)
        except (AssertionError, OSError) as failed:
            self._failed = failed

    def wait_for(self, _event):
        """It is connected."""

    def stop(self):
        self._over.set()
        self._thread.join()
        self._approver.stop()
        assert self._failed is None, self._failed


@pytest.fixture
def place(monkeypatch, syslog):
    """This host as a stage, which has its accounts and its system log already; left as it was."""
    files, hands = resource.getrlimit(resource.RLIMIT_NOFILE), []

    def answering(_stage, stack, user="alice"):
        hands.append(Hands(stack.approver(user)))
        return hands[-1]

    monkeypatch.setattr(accounts, "create", lambda: None)
    monkeypatch.setattr(stage, "Syslog", lambda: syslog)
    monkeypatch.setattr(stage, "NICENESS", os.getpriority(os.PRIO_PROCESS, 0))
    monkeypatch.setattr(stage.Stage, "answering", answering)
    yield
    for some in hands:
        some.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    shutil.rmtree(stage.PLACE, ignore_errors=True)
    for service in pam.PAM_D.glob("bench-*"):
        service.unlink()


def bench(monkeypatch, capsys, rows):
    """What `python3 -m bench ROWS` prints."""
    monkeypatch.setattr(sys, "argv", ["bench", rows])
    runpy.run_module("bench", run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_the_table_has_rows_with_numbers(place, monkeypatch, capsys):
    monkeypatch.setattr(rows_login, "ROUNDS", ROUNDS)
    monkeypatch.setattr(rows_login, "find", lambda program: False)
    monkeypatch.setattr(duo, "missing", lambda: "no libpam-duo")
    monkeypatch.setattr(rows_idle, "SETTLED", 1)
    monkeypatch.setattr(rows_idle, "IDLE", 1)
    header, *lines = bench(monkeypatch, capsys, "login,idle")
    starts = [header.index(column) for column in ("what", "pam_permit", "pam_duo", "countersign", "budget", "met")]
    rows = [[line[start:end].strip() for start, end in zip(starts, [*starts[1:], None])] for line in lines]
    cells = {what: (permit, ours, budget, met) for what, permit, _, ours, budget, met in rows}
    for what in ("login, wall, over pam_permit", "login, CPU of its process, over pam_permit"):
        permit, ours, budget, met = cells[what]
        assert NUMBER.fullmatch(permit) and NUMBER.fullmatch(ours), what
        assert budget.startswith("≤ ") and met in ("yes", "NO"), what
    for what in (f"… quickest of {ROUNDS}", "login, wall, slowest", "daemon, RSS idle", "daemon, CPU idle"):
        assert NUMBER.fullmatch(cells[what][1]), what
    # What is not there is said to be missing.
    assert cells["login, system calls, over pam_permit"][1] == "not measured: no strace"


def test_all_its_parts_load_and_others_are_named(place, monkeypatch, capsys):
    files = (Path(__file__).parent / "bench").glob("rows_*.py")
    names = sorted(file.stem.removeprefix("rows_") for file in files)
    assert all(callable(importlib.import_module(f"bench.rows_{name}").measure) for name in names)
    with pytest.raises(SystemExit) as ended:
        bench(monkeypatch, capsys, "login,nonsense")
    assert "no rows named nonsense" in ended.value.code and all(name in ended.value.code for name in names)
