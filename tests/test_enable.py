"""countersign enable, confirm, rollback and disable, on files as Debian has them, a real sshd and a real sudo."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from lab import paths
from lab.accounts import as_user_argv
from lab.process import wait_until
from lab.sshd import Sshd
from lab.terminal import CODE, Terminal

PAM = Path("/etc/pam.d")
SSH = Path("/etc/ssh")
OURS = Path("/etc/countersign")
RECORD = OURS / "pending/record.json"
DROP_IN = SSH / "sshd_config.d/00-countersign.conf"
SHIPPED = paths.REPOSITORY / "cli/tests/pam.d/debian12"
BEGIN = "# countersign: begin"
USER = "alice"
WTMP = Path("/var/log/wtmp")


@pytest.fixture
def machine(up):
    """Everything, PAM's services as Debian ships them, and what they are afterwards taken back to."""
    saved = Path("/run/lab/saved")
    shutil.rmtree(saved, ignore_errors=True)
    for folder in (PAM, SSH):
        shutil.copytree(folder, saved / folder.name)
    for file in SHIPPED.iterdir():
        (PAM / file.name).write_bytes(file.read_bytes())
    # With lines by hand, for other tests.
    (PAM / "lab").unlink()
    stack = up()
    yield stack
    subprocess.run([paths.COMMAND, "disable", "--all"], capture_output=True)
    for folder in (PAM, SSH):
        shutil.rmtree(folder)
        shutil.copytree(saved / folder.name, folder)
    # For other tests nobody has logged in.
    WTMP.write_bytes(b"")


def countersign(*words, env=None, **options):
    argv = [str(paths.COMMAND), *[str(word) for word in words]]
    if words[0] == "enable":
        argv += ["--module", str(paths.MODULE)]
    environment = {**os.environ, "SUDO_USER": USER, **(env or {})}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, **options)


def enable(*words, within=100):
    return countersign("enable", *words, "--within", within)


def shipped(service):
    return (SHIPPED / service).read_bytes()


def is_on(service):
    return BEGIN.encode() in (PAM / service).read_bytes()


def as_shipped(*services):
    return all((PAM / service).read_bytes() == shipped(service) for service in services)


def sshd():
    """sshd with its settings where they belong, without what Countersign needs."""
    (SSH / "sshd_config.d").mkdir(exist_ok=True)
    server = Sshd(SSH, KbdInteractiveAuthentication="no", PasswordAuthentication="yes", PidFile="/run/sshd.pid")
    config = SSH / "sshd_config"
    config.write_text(f"Include {SSH}/sshd_config.d/*.conf\n{config.read_text()}")
    return server


def seen_in_wtmp(user):
    """A login of the user, as login(1) would have written it down."""
    wide = os.uname().machine in ("aarch64", "riscv64", "loongarch64")
    form = "=hxxi32s4s32s256shh" + ("qqq16s20s4x" if wide else "iii16s20s")
    record = struct.pack(
        form, 7, 1, b"pts/0", b"", user.encode(), b"", 0, 0, 0, int(time.time()), 0, b"", b""
    )  # fmt: skip
    with WTMP.open("ab") as file:
        file.write(record)


def test_turned_on_confirmed_from_a_new_login_and_off_again(machine):
    phone = machine.approver(USER)
    server = sshd()
    client = machine.client(server)
    run = Terminal(
        ["env", f"SUDO_USER={USER}", paths.COMMAND, "enable", "sshd", "sudo", "--yes", "--module", paths.MODULE]
    )
    run.expect("@include common-auth")
    run.expect(r"\+auth +requisite .*pam_countersign.so")
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish(20) == 0, run.text
    assert "sudo countersign confirm" in run.text
    assert is_on("sshd") and is_on("sudo") and is_on("sudo-i")
    assert DROP_IN.exists() and not (OURS / "enabled").exists()

    # The shell that did it shows nothing.
    refused = countersign("confirm")
    assert refused.returncode == 1 and "log in anew" in refused.stderr, refused.stderr
    assert countersign("confirm", "--untested").returncode == 1

    # sshd has read its settings: now it can prompt.
    login = client.login(USER, f"sudo {paths.COMMAND} confirm", flags=["-t"])
    login.answer_password("alice-password")
    login.answer_code(phone.approve(phone.next_request(after=1)))
    login.answer_password("alice-password")
    login.answer_code(phone.approve(phone.next_request(after=2)))
    assert login.finish(20) == 0, login.text
    assert "Confirmed: sshd, sudo, sudo-i" in login.text
    assert not RECORD.exists()
    on = [line.split("#")[0].strip() for line in (OURS / "enabled").read_text().splitlines()]
    assert [name for name in on if name] == ["sshd", "sudo", "sudo-i"]
    # What somebody takes out by hand, at three in the morning, stays out.
    asking = (PAM / "sudo").read_bytes()
    (PAM / "sudo").write_bytes(shipped("sudo"))
    assert countersign("enable", "--restore").returncode == 0 and as_shipped("sudo")
    assert "sudo DOES NOT ASK" in countersign("enable").stdout
    (PAM / "sudo").write_bytes(asking)

    # Without the daemon.
    machine.daemon.kill()
    off = countersign("disable", "sshd", "sudo")
    assert off.returncode == 0, off.stderr
    assert as_shipped("sshd", "sudo", "sudo-i")
    assert not DROP_IN.exists() and not (OURS / "enabled").exists()


def test_what_nobody_confirms_is_taken_back_by_itself(machine):
    machine.approver(USER)
    sshd()
    done = enable("sshd", "su", "--yes", "--no-test", within=2)
    assert done.returncode == 0, done.stderr
    assert is_on("sshd") and is_on("su") and DROP_IN.exists()
    # A service whose lines are another's is not edited.
    assert as_shipped("su-l")
    wait_until(lambda: not RECORD.exists(), 15, "it is taken back")
    assert as_shipped("sshd", "su")
    assert not DROP_IN.exists()
    told = countersign("status")
    assert "was taken back" in told.stderr, told.stderr
    assert "it was taken back" not in countersign("confirm").stdout
    assert countersign("confirm").returncode == 1


def test_it_is_taken_back_though_its_shell_and_the_daemon_die(machine, syslog):
    machine.approver(USER)
    mark = syslog.mark()
    shell = Terminal(
        ["sh", "-c", f"{paths.COMMAND} enable sudo --yes --no-test --within 3 --module {paths.MODULE}; exec sleep 600"]
    )
    shell.expect("sudo countersign confirm")
    machine.daemon.kill()
    shell.child.kill(signal.SIGHUP)
    shell.kill()
    assert is_on("sudo")
    wait_until(lambda: not RECORD.exists(), 15, "it is taken back")
    assert as_shipped("sudo", "sudo-i")
    syslog.wait_for("was taken back: nobody confirmed it in time", after=mark)


def test_what_cannot_be_taken_back_is_an_alert_and_is_told_until_it_is(machine, syslog):
    machine.approver(USER)
    mark = syslog.mark()
    assert enable("sudo", "--yes", "--no-test", within=2).returncode == 0
    written = (PAM / "sudo").read_bytes()
    # Something that no program of ours can put a file in place of.
    (PAM / "sudo").unlink()
    (PAM / "sudo" / "in the way").mkdir(parents=True)
    [line] = syslog.wait_for("NOT TAKEN BACK: /etc/pam.d/sudo:", 20, after=mark)
    # authpriv, alert.
    assert line.startswith("<81>"), line
    told = countersign("status").stderr
    assert "was NOT taken back" in told and "NOT TAKEN BACK: /etc/pam.d/sudo" in told, told
    shutil.rmtree(PAM / "sudo")
    (PAM / "sudo").write_bytes(written)
    done = countersign("rollback")
    assert done.returncode == 0, done
    assert as_shipped("sudo", "sudo-i") and "NOT" not in countersign("status").stderr


def test_an_old_shell_cannot_confirm_whatever_it_does(machine):
    machine.approver(USER)
    assert enable("sudo", "--yes", "--no-test").returncode == 0
    for old in (
        ["sudo", "-n"],
        ["setsid", "--wait"],
        ["script", "-qec", f"{paths.COMMAND} confirm --untested", "/dev/null"],
    ):
        argv = old if old[0] == "script" else [*old, paths.COMMAND, "confirm", "--untested"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        assert done.returncode == 1, (old, done)
    # Detached, so that its parent is process 1.
    subprocess.run(["sh", "-c", f"(setsid {paths.COMMAND} confirm --untested >/run/lab/out 2>&1 &)"], timeout=20)
    out = Path("/run/lab/out")
    wait_until(lambda: out.exists() and "log in anew" in out.read_text(), 10, "it is refused")
    # Without root's right it is not even looked at.
    assert subprocess.run(as_user_argv(USER, paths.COMMAND, "confirm"), capture_output=True).returncode == 4
    assert RECORD.exists()
    assert countersign("rollback").returncode == 0
    assert as_shipped("sudo", "sudo-i") and not RECORD.exists()
    assert countersign("rollback").returncode == 0


def test_edits_of_others_outlive_rolling_back(machine):
    machine.approver(USER)
    assert enable("sudo", "--yes", "--no-test").returncode == 0
    with open(PAM / "sudo", "a") as file:
        file.write("session optional pam_echo.so mine\n")
    done = countersign("rollback")
    assert done.returncode == 0 and "edited since" in done.stdout, done
    assert (PAM / "sudo").read_bytes() == shipped("sudo") + b"session optional pam_echo.so mine\n"
    assert as_shipped("sudo-i")


def test_killed_at_each_step_it_can_be_taken_back(machine):
    machine.approver(USER)
    mode = (PAM / "sudo").stat().st_mode
    for step in range(1, 100):
        done = enable("sudo", "--yes", "--no-test", "--die-at", step)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done
        # Whoever logs in meanwhile finds files that are whole.
        for service in ("sudo", "sudo-i"):
            text = (PAM / service).read_bytes()
            assert text == shipped(service) or text.count(b"pam_countersign.so\n# countersign: end") == 1
        back = countersign("rollback")
        assert back.returncode == 0, back.stderr
        assert as_shipped("sudo", "sudo-i") and not RECORD.exists(), step
        assert not [name for name in os.listdir(PAM) if name.startswith(".")], step
    assert step > 10, "the steps are not passed"
    assert is_on("sudo")

    # Taking it back can be killed, too, and done again.
    for step in range(1, 100):
        done = countersign("rollback", "--die-at", step)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done
    assert step > 3, "the steps are not passed"
    assert as_shipped("sudo", "sudo-i") and not RECORD.exists()
    assert (PAM / "sudo").stat().st_mode == mode


def test_a_record_that_cannot_be_read_does_not_keep_the_lines(machine):
    machine.approver(USER)
    assert enable("sudo", "--yes", "--no-test").returncode == 0
    RECORD.write_text("{")
    done = countersign("rollback")
    assert done.returncode == 0, done
    assert as_shipped("sudo", "sudo-i") and not RECORD.exists()


def test_accounts_that_would_be_locked_out_are_named_first(machine):
    machine.approver(USER)
    seen_in_wtmp("bob")
    seen_in_wtmp("rescue")
    shown = json.loads(countersign("enable", "sudo", "--dry-run", "--json").stdout)
    out = {one["user"]: one["services"] for one in shown["locked_out"]}
    # alice has a device, rescue is of the break-glass group.
    assert out["bob"] == ["sudo", "sudo-i"] and "alice" not in out and "rescue" not in out
    assert [file["path"] for file in shown["files"]] == [f"{PAM}/sudo", f"{PAM}/sudo-i"]
    assert as_shipped("sudo")
    refused = countersign("enable", "sudo", "--no-test")
    assert refused.returncode == 1 and "bob" in refused.stderr, refused
    names = ", ".join(f'"{name}"' for name in out)
    policy = machine.daemon.config
    policy.write_text(
        policy.read_text() + f'[[rule]]\nname = "later"\nwhen = {{ user = [{names}] }}\nthen = "observe"\n'
    )
    shown = json.loads(countersign("enable", "sudo", "--dry-run", "--json").stdout)
    assert shown["locked_out"] == []
    # Nobody is there to be asked.
    refused = countersign("enable", "sudo", "--no-test")
    assert refused.returncode == 2 and "--yes" in refused.stderr, refused
    assert as_shipped("sudo") and not RECORD.exists()


def test_a_test_that_fails_changes_nothing(machine):
    phone = machine.approver(USER)
    run = Terminal(["env", f"SUDO_USER={USER}", paths.COMMAND, "enable", "sudo", "--yes", "--module", paths.MODULE])
    phone.decide(phone.next_request(), "deny")
    run.expect(CODE)
    run.send("")
    assert run.finish() == 1, run.text
    assert as_shipped("sudo") and not RECORD.exists()
    machine.daemon.kill()
    assert enable("sudo", "--yes").returncode == 3
    assert as_shipped("sudo") and not RECORD.exists()


def test_what_cannot_be_turned_on_is_refused_in_a_sentence(machine):
    machine.approver(USER)
    (PAM / "app").write_text("auth sufficient pam_unix.so\nauth required pam_deny.so\n")
    for service, status, why in (
        ("cron", 2, "nobody would be there"),
        ("common-auth", 2, "included by other services"),
        ("../shadow", 2, "a file in /etc/pam.d"),
        ("nothing", 1, "there is no service"),
        ("app", 1, "without being asked"),
    ):
        done = enable(service, "--yes", "--no-test")
        assert done.returncode == status and why in done.stderr, (service, done)
    missing = countersign("enable", "sudo", "--yes", "--no-test", "--module", "/no/such/module.so")
    assert not RECORD.exists() and missing.returncode != 0
    # A line that wins over the one in our file.
    sshd()
    config = SSH / "sshd_config"
    config.write_text("KbdInteractiveAuthentication no\n" + config.read_text())
    done = enable("sshd", "--yes", "--no-test")
    assert done.returncode == 1 and '"KbdInteractiveAuthentication yes"' in done.stderr, done
    assert as_shipped("sshd") and not DROP_IN.exists() and not RECORD.exists()


def confirmed(machine, *services):
    """As a confirmation leaves it."""
    assert enable(*services, "--yes", "--no-test").returncode == 0
    (OURS / "enabled").write_text("".join(f"{name}\n" for name in services))
    shutil.rmtree(OURS / "pending")


def test_lines_that_an_upgrade_took_come_back(machine, syslog):
    machine.approver(USER)
    confirmed(machine, "sudo", "sudo-i", "su")
    (PAM / "sudo").write_bytes(shipped("sudo") + b"# of the new version\n")
    (PAM / "su").write_text("auth sufficient pam_unix.so\n")
    mark = syslog.mark()
    done = countersign("enable", "--restore")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert is_on("sudo") and is_on("sudo-i") and not is_on("su")
    assert (PAM / "sudo").read_bytes().endswith(b"# of the new version\n")
    syslog.wait_for("su DOES NOT ASK ANY MORE", after=mark)
    listed = countersign("enable")
    assert listed.returncode == 1 and "su DOES NOT ASK" in listed.stdout, listed
    (PAM / "su").write_bytes(shipped("su"))
    assert countersign("enable", "--restore").returncode == 0
    assert countersign("enable").stdout == "On: su, sudo, sudo-i\n"
    off = countersign("disable", "--all")
    assert off.returncode == 0 and as_shipped("su", "sudo-i"), off


def test_a_host_of_keys_alone_takes_no_passwords_afterwards(machine):
    machine.approver(USER)
    Sshd(SSH, KbdInteractiveAuthentication="no", PasswordAuthentication="no")
    shown = json.loads(countersign("enable", "sshd", "--dry-run", "--json").stdout)
    assert [file["path"] for file in shown["files"]] == [f"{PAM}/sshd"]


def test_nothing_is_put_back_that_would_lock_out(machine, syslog):
    machine.approver(USER)
    confirmed(machine, "sudo", "sudo-i")
    (PAM / "sudo").write_bytes(shipped("sudo") + b"# of the new version\n")
    mark = syslog.mark()
    subprocess.run([paths.COMMAND, "enable", "--restore", "--module", "/no/such/module.so"], check=True)
    syslog.wait_for("nothing is put back", after=mark)
    assert not is_on("sudo")
    machine.daemon.config.rename(OURS / "away")
    assert countersign("enable", "--restore").returncode == 0 and not is_on("sudo")
    (OURS / "away").rename(machine.daemon.config)
    assert countersign("enable", "--restore").returncode == 0 and is_on("sudo")


def test_all_off_tells_of_lines_by_hand(machine):
    machine.approver(USER)
    confirmed(machine, "sudo", "sudo-i")
    (PAM / "app").write_text("auth required pam_countersign.so\n")
    off = countersign("disable", "--all")
    assert off.returncode == 1 and f"{PAM}/app:1" in off.stdout, off
    assert as_shipped("sudo", "sudo-i")
    (PAM / "app").unlink()
    assert countersign("disable", "--all").returncode == 0


def test_lockers_ask_for_a_tap_where_their_files_are_as_they_are_shipped(machine):
    """They run as the user whom they lock out; Debian's have the lines of `login`."""
    phone = machine.approver(USER)
    done = enable("i3lock", "swaylock", "xscreensaver", "--yes", "--no-test")
    assert done.returncode == 0, done.stdout + done.stderr
    for number, service in enumerate(("i3lock", "swaylock")):
        locker = Terminal(as_user_argv(USER, "pamtester", service, USER, "authenticate"))
        locker.answer_password("alice-password")
        locker.expect(r"Approve this on your phone\.\r?\n")
        phone.approve(phone.next_request(after=number))
        assert locker.finish(20) == 0, locker.text
    done = countersign("disable", "i3lock", "swaylock", "xscreensaver")
    assert done.returncode == 0 and as_shipped("i3lock", "swaylock", "xscreensaver"), done.stderr
