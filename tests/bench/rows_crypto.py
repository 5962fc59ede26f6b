"""What the cryptography of a login takes by itself: it is done one after the other, by host and device."""

from .table import Row, number

SECONDS = 60


def measure(stage):
    peer = stage.peer("crypto")
    peer.popen.wait(SECONDS)
    steps = peer.all("step")
    assert steps, peer.log()
    rows = [Row(f"cryptography, {step['step']}", f"{number(step['us'])} µs") for step in steps]
    whole = sum(step["us"] for step in steps)
    return [Row("cryptography of a login until the verdict, host and device", f"{number(whole)} µs"), *rows]
