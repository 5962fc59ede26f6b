"""Nobody learns by logging in whether there is such a user, or whether they have a device: not from what is shown, and not from
how long it takes."""

import bisect
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.peer import Peer, login

ROUNDS = 500
# Whoever has a device, who has none, and nobody.
KINDS = ("alice", "bob", "nosuch")


def ks_p(one, other):
    """The probability of so different samples of one distribution: Kolmogorov and Smirnov's two-sample test, for large samples."""
    one, other = sorted(one), sorted(other)
    difference = max(abs(bisect.bisect_right(one, at) / len(one) - bisect.bisect_right(other, at) / len(other)) for at in one + other)
    root = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    size = (root + 0.12 + 0.11 / root) * difference
    return min(1.0, max(0.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * size * size) for k in range(1, 101))))


def test_the_test_of_two_samples_tells_what_differs():
    chance = random.Random(1)
    same = [[chance.gauss(10, 1) for _ in range(ROUNDS)] for _ in range(2)]
    assert ks_p(*same) > 0.01
    assert ks_p(same[0], [time + 0.4 for time in same[1]]) < 0.01
    # From every table of the distribution: a difference of 1.358 * sqrt(2 / n), here 0.086, is met by chance in one case of twenty.
    assert abs(ks_p(range(500), [at + 42.3 for at in range(500)]) - 0.05) < 0.006


def one_login(user):
    """Milliseconds to the first prompt, and to the next one after something that is no code; what was shown."""
    with Peer() as peer:
        times, shown = [], []
        for call in (login(user=user), login("Continue", answer="no code")):
            began = time.perf_counter()
            step = peer.step(call)
            times.append((time.perf_counter() - began) * 1000)
            shown.append((step["step"], step.get("text")))
        return times, tuple(shown)


def timings(order):
    """Of many logins of each kind, begun at the same time in any order: their two times, and what was shown."""
    times, shown = {kind: [] for kind in KINDS}, {kind: set() for kind in KINDS}
    with ThreadPoolExecutor(len(KINDS)) as pool:
        # Some first ones, as on any host that has run for a while.
        for number in range(-20, ROUNDS):
            kinds = order.sample(KINDS, len(KINDS))
            for kind, (took, texts) in zip(kinds, pool.map(one_login, kinds), strict=True):
                if number >= 0:
                    times[kind].append(took)
                    shown[kind].add(texts)
    return times, shown


@pytest.mark.quiet
def test_who_there_is_cannot_be_told_from_the_time(stack):
    stack.approver("alice")
    order = random.Random(2)
    # Equal ones differ so much by chance in one of 25 runs; what does differ is found twice.
    for _ in range(2):
        times, shown = timings(order)
        assert shown["alice"] == shown["bob"] == shown["nosuch"]
        assert all(len(texts) == 1 for texts in shown.values()), shown
        found = {}
        for other in ("bob", "nosuch"):
            for prompt in (0, 1):
                samples = [[took[prompt] for took in times[kind]] for kind in ("alice", other)]
                median = [sorted(sample)[ROUNDS // 2] for sample in samples]
                found[other, prompt] = (ks_p(*samples), *median)
        print(found)
        if all(p > 0.01 for p, *_ in found.values()):
            return
    raise AssertionError(found)


def test_ssh_shows_all_of_them_the_same(up):
    """The whole of it on a terminal, but for the name: the password is asked for, and refused, before us; here it is not."""
    stack = up(wait="5s")
    stack.approver("alice")
    client = stack.client(stack.sshd())
    screens = {}
    for kind in ("alice", "bob"):
        run = client.login(kind, "true", timeout=40)
        run.answer_password(f"{kind}-password")
        run.answer_code("")
        run.expect(r"Press Enter to ring the phone again: ?$")
        run.send("")
        run.answer_code("")
        assert run.finish(timeout=20) == 255
        screens[kind] = run.text.replace(kind, "NAME")
    assert screens["alice"] == screens["bob"]
