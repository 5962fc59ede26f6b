"""`countersign doctor` on a whole host: what it finds, what it says when all is well, and that its drill is true."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from lab import accounts, pam, paths
from lab.process import wait_until
from lab.repository import AptRoot
from lab.terminal import on_terminal_of

PASSWORD = "alice-password"
SSHD_CONFIG = Path("/etc/ssh/sshd_config")
SUDOERS = Path("/etc/sudoers.d/zz-doctor")
SETTINGS = {
    "UsePAM": "yes",
    "KbdInteractiveAuthentication": "yes",
    "PasswordAuthentication": "no",
    "PermitRootLogin": "no",
    "UseDNS": "no",
}


def doctor(*words, timeout=30):
    """Its exit code and its report."""
    argv = [str(paths.COMMAND), "--json", "doctor", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert done.stderr == "", done.stderr
    return done.returncode, json.loads(done.stdout)


def kinds(report):
    return sorted(one["kind"] for one in report["findings"] if one["severity"] != "not looked at")


def sshd_config(more="", **settings):
    lines = [f"{name} {value}\n" for name, value in {**SETTINGS, **settings}.items()]
    SSHD_CONFIG.write_text("".join(lines) + more)


@pytest.fixture
def good(up):
    """A host that is turned on as it should be."""
    files = [SSHD_CONFIG, pam.PAM_D / "sudo-i", pam.PAM_D / "polkit-1"]
    old = {file: file.read_bytes() if file.exists() else None for file in files}
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-A"], check=True, capture_output=True)
    sshd_config()
    for service in ("sudo-i", "polkit-1"):
        pam.write(service, pam.lines(auth=True, session=False))
    stack = up(codes=["recovery"])
    for user in ("alice", "bob", "demo"):
        stack.approver(user)
    wait_until(lambda: stack.daemon.status()["connected"], 10, "the server is there")
    yield stack
    SUDOERS.unlink(missing_ok=True)
    for file, text in old.items():
        if text is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(text)


def test_nothing_is_found_on_a_good_host(good):
    code, report = doctor()
    assert (code, kinds(report)) == (0, []), report
    assert {"sshd", "sudo", "su"} <= set(report["asking"])
    assert any("never asked" in note and "countersign-breakglass" in note for note in report["notes"]), report
    words = subprocess.run([str(paths.COMMAND), "doctor"], capture_output=True, text=True, timeout=30)
    assert words.returncode == 0 and "Nothing is wrong." in words.stdout, words.stdout
    # Short when all is well: no more than a screen in any case.
    assert len(words.stdout.splitlines()) <= 8, words.stdout


def test_it_says_whether_package_managers_ask(good, tmp_path, monkeypatch):
    apt = AptRoot(tmp_path / "root")
    apt.turn_on()
    monkeypatch.setenv("APT_CONFIG", str(apt.config))
    code, report = doctor()
    assert (code, kinds(report)) == (0, []), report
    [note] = [note for note in report["notes"] if note.startswith("apt")]
    assert note.startswith("apt asks before packages change; no rule names apt.install"), note
    # What upgrades by itself has to pass by a rule.
    with open(apt.config, "a") as config:
        config.write('APT::Periodic::Unattended-Upgrade "1";\n')
    code, report = doctor()
    assert (code, kinds(report)) == (1, ["automatic-upgrades"]), report
    policy = good.daemon.config
    head, default, tail = policy.read_text().partition("[default]")
    rule = '[[rule]]\nname = "by themselves"\nwhen = { service = "ask", action = "apt.upgrade", origin = "Debian" }\nthen = "skip"\n'
    good.daemon.write_config(head + rule + default + tail)
    # What the files say is not what the daemon goes by.
    assert kinds(doctor()[1]) == ["not-in-force"]
    assert good.daemon.command("status")["config_changed"]
    good.daemon.reload()
    wait_until(lambda: doctor()[0] == 0, 10, "the rule is taken")
    assert any('rules that name it: "by themselves"' in note for note in doctor()[1]["notes"])
    # Nobody asks about single services.
    assert not any(note.startswith("apt") for note in doctor("sshd")[1]["notes"])


def test_sshd_is_asked_for_its_settings(good):
    # The first one counts, wherever it stands: only sshd itself can say.
    sshd_config(UsePAM="no")
    code, report = doctor("sshd")
    assert (code, kinds(report)) == (1, ["use-pam"]), report
    sshd_config(LoginGraceTime="25", MaxAuthTries="2", PermitRootLogin="yes")
    assert kinds(doctor("sshd")[1]) == ["login-grace", "max-auth-tries", "root-login"]
    sshd_config("Match User backup\n  PermitRootLogin yes\n")
    code, report = doctor("sshd")
    [finding] = [one for one in report["findings"] if one["kind"] == "root-login"]
    assert finding["at"] == f"{SSHD_CONFIG}:{len(SETTINGS) + 1}"
    sshd_config("Match Group staff\n  PermitRootLogin yes\n")
    code, report = doctor("sshd")
    assert (code, kinds(report)) == (0, [])
    assert any(f"{SSHD_CONFIG}:" in one["text"] for one in report["findings"]), report
    # A key alone lets in: without the session line that is a door, and not where the password follows in any case.
    pam.write("sshd", pam.lines(auth=True, session=False))
    sshd_config()
    assert kinds(doctor("sshd")[1]) == ["no-session-line"]
    sshd_config(AuthenticationMethods="publickey,keyboard-interactive")
    assert kinds(doctor("sshd")[1]) == []


def test_a_match_is_seen_wherever_it_is_written(good):
    folder = SSHD_CONFIG.parent / "doctor-more"
    folder.mkdir()
    try:
        (folder / "a.conf").write_text("Match User mallory\n  AuthenticationMethods none\n")
        sshd_config(f"Include {folder}/*.conf\n")
        code, report = doctor("sshd")
        assert (code, kinds(report)) == (1, ["none"]), report
        assert report["findings"][0]["at"] == f"{folder}/a.conf:1"
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    # More than are tried: it is said that they were not.
    sshd_config("".join(f"Match User user{number}\n  X11Forwarding no\n" for number in range(18)))
    code, report = doctor("sshd")
    assert (code, kinds(report)) == (0, []), report
    assert any("last 2 of 18 Match blocks" in one["text"] for one in report["findings"]), report


def test_sudo_that_leaves_pam_out(good):
    SUDOERS.write_text("# here\n%adm ALL=(ALL) NOPASSWD: ALL\nbob ALL=(root) NOPASSWD: /bin/ls\nDefaults timestamp_timeout=-1\n")
    SUDOERS.chmod(0o440)
    code, report = doctor("sudo")
    found = {one["kind"]: one for one in report["findings"]}
    assert (code, kinds(report)) == (1, ["nopasswd", "nopasswd-some", "timestamp"]), report
    assert found["nopasswd"]["at"] == f"{SUDOERS}:2" and "group adm" in found["nopasswd"]["text"]
    assert "bob" in found["nopasswd-some"]["text"]
    for setting in ("pam_service", "pam_login_service", "pam_askpass_service"):
        SUDOERS.write_text(f"Defaults {setting}=other-sudo\n")
        assert kinds(doctor("sudo")[1]) == ["other-service"], setting
    SUDOERS.write_text("Defaults exempt_group=adm\n")
    code, report = doctor("sudo")
    assert (code, kinds(report)) == (1, ["exempt-group"]), report
    assert report["findings"][0]["severity"] == "would open" and report["findings"][0]["at"] == f"{SUDOERS}:1"
    # What an alias stands for counts, a shell is everything, and a setting for one person is said with the name.
    SUDOERS.write_text(
        "Cmnd_Alias EVERY = ALL\nbob ALL=(ALL) NOPASSWD: EVERY\nalice ALL=(ALL) NOPASSWD: /bin/bash\n"
        "Defaults:demo timestamp_timeout=-1\n"
    )
    report = doctor("sudo")[1]
    found = {one["kind"]: one["text"] for one in report["findings"]}
    assert kinds(report) == ["nopasswd", "timestamp"], report
    assert found["nopasswd"].startswith("alice, bob may") and "(for demo)" in found["timestamp"]


def test_a_policy_that_lets_everybody_pass_is_said(good):
    good.daemon.configure(then="skip")
    code, report = doctor()
    [finding] = [one for one in report["findings"] if one["kind"] == "policy-advice"]
    assert code == 1 and finding["next"] == "countersign policy check" and "opens" in finding["text"], report
    assert "the policy does not ask" in drill("sudo", "with a phone")["server_gone"]


def test_a_dead_daemon_and_a_broken_policy_do_not_stop_it(good):
    good.daemon.stop()
    good.daemon.write_config("server = \n[[rule\n")
    pam.write("su", pam.lines(auth=True, session=False).replace(f"auth requisite {paths.MODULE}", f"auth optional {paths.MODULE}", 1))
    began = time.monotonic()
    code, report = doctor()
    assert time.monotonic() - began < 10
    assert code == 1
    assert {"daemon-down", "policy"} <= set(kinds(report)), report
    [ignored] = [one for one in report["findings"] if one["kind"] == "refusal-ignored"]
    assert ignored["at"].startswith("/etc/pam.d/su:") and "requisite" in ignored["next"]


def test_who_has_no_device_and_who_is_in_the_break_glass_group(good):
    good.daemon.command("revoke", "bob", "phone")
    subprocess.run(["gpasswd", "--delete", "rescue", accounts.BREAK_GLASS], check=True, capture_output=True)
    try:
        code, report = doctor("sudo")
    finally:
        subprocess.run(["gpasswd", "--add", "rescue", accounts.BREAK_GLASS], check=True, capture_output=True)
    found = {one["kind"]: one for one in report["findings"]}
    assert set(kinds(report)) == {"no-device", "break-glass-group"}, report
    assert "bob" in found["no-device"]["text"] and "alice" not in found["no-device"]["text"]


def drill(service, who):
    rows = doctor("--drill")[1]["drill"]
    [row] = [row for row in rows if (row["service"], row["who"]) == (service, who)]
    return row


def test_a_name_service_that_hangs_does_not_hang_the_drill(good):
    """Whoever opens a pipe that nobody writes to waits."""
    rule = '\n[[rule]]\nname = "one group"\nwhen = { group = "adm" }\nthen = "deny"\n'
    good.daemon.write_config(good.daemon.config.read_text() + rule)
    good.daemon.stop()
    groups, saved = Path("/etc/group"), Path("/etc/group.saved")
    groups.rename(saved)
    os.mkfifo(groups)
    began = time.monotonic()
    try:
        done = subprocess.run([paths.COMMAND, "doctor", "sudo", "--drill", "--json"], capture_output=True, text=True, timeout=60)
    finally:
        groups.unlink()
        saved.rename(groups)
    assert time.monotonic() - began < 30
    rows = {row["who"]: row for row in json.loads(done.stdout)["drill"]}
    assert rows["with a phone"]["server_gone"] == "not known: the name service does not answer", rows
    assert rows["with a phone"]["daemon_gone"] == "refused", rows


@pytest.mark.openssh
def test_what_the_drill_says_is_what_happens(good):
    codes = good.daemon.command("codes", "alice", "--recovery")["codes"]
    said = drill("sudo", "with a phone")
    assert said["server_gone"] == "in: password + recovery code" and said["daemon_gone"] == "refused", said
    glass = drill("su", "break-glass")
    assert glass["daemon_gone"] == "in: password", glass
    # The server is gone.
    good.server.stop()
    wait_until(lambda: not good.daemon.status()["connected"], 10, "the daemon notices")
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    sudo.expect("code")
    sudo.send(codes[0])
    assert sudo.finish() == 0 and sudo.lines()[-1] == "0"
    assert drill("sudo", "with a phone")["server_gone"] == said["server_gone"]
    # The daemon is gone.
    good.daemon.stop()
    assert drill("sudo", "with a phone")["daemon_gone"] == "refused"
    sudo = on_terminal_of("alice", "sudo", "-k", "id", "-u")
    sudo.answer_password(PASSWORD)
    assert sudo.give_up() != 0
    assert "0" not in sudo.lines()
    su = on_terminal_of("alice", "su", "rescue", "-c", "id -un")
    su.answer_password("rescue-password")
    assert su.finish() == 0 and su.lines()[-1] == "rescue"
    # By a key alone, in the session stage.
    sshd = good.sshd()
    client = good.client(sshd, "alice")
    accounts.authorize_key("rescue", client.public_key)
    assert drill("sshd, by key", "with a phone")["daemon_gone"] == "refused"
    refused = client.batch("alice", "echo", "ran")
    assert refused.returncode != 0 and "ran" not in refused.stdout.splitlines()
    assert drill("sshd, by key", "break-glass")["daemon_gone"] == "in: key"
    assert client.batch("rescue", "echo", "ran").stdout == "ran\n"
