"""`systemctl reload countersignd`, by the unit's own commands: who changes the policy hears whether it is in force."""

import subprocess

from lab import paths, tls
from lab.daemon import CONFIG
from lab.process import wait_until

UNIT = paths.REPOSITORY / "packaging/systemd/countersignd.service"


def reload(stack):
    """Runs the commands as systemd does, up to the first that fails; that one, or None."""
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecReload=")]
    assert lines
    for line in lines:
        words = line.removeprefix("ExecReload=").replace("$MAINPID", str(stack.daemon.process.popen.pid)).split()
        if words[0].endswith("/countersignd"):
            words = [paths.DAEMON, *words[1:], "--config", CONFIG]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
        if done.returncode:
            return done
    return None


def test_a_faulty_policy_fails_the_reload_and_is_told_by_status_too(stack):
    assert reload(stack) is None
    good = CONFIG.read_text()
    stack.daemon.write_config(good + 'server_ca = "/etc/ca.pem"\n')
    failed = reload(stack)
    assert failed and str(CONFIG) in failed.stderr and "it belongs above [default]" in failed.stderr, failed
    wait_until(lambda: stack.daemon.status()["config_faults"], 5, "the daemon tells the fault")
    assert stack.daemon.status()["connected"]
    stack.daemon.write_config(good)
    assert reload(stack) is None
    wait_until(lambda: not stack.daemon.status()["config_faults"], 5, "all is well again")


def test_certificates_that_cannot_be_used_fail_the_reload(up, tmp_path):
    stack = up(tls=tls.make(tmp_path / "tls"))
    assert reload(stack) is None
    stack.daemon.ca.write_text("-----BEGIN CERTIFICATE-----\n")
    failed = reload(stack)
    assert failed and str(stack.daemon.ca) in failed.stderr, failed
