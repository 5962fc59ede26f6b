"""The administrator's guide's recipes, typed as they stand there, in their order, on one host; and what one then sees."""

import os
import re
import subprocess

import pytest
from device import LINK
from documents import blocks
from machine import REPOSITORY
from setting import PASSWORDS

from lab.process import wait_until

GUIDE = "docs/admin-guide.md"
PART = "Recipes"
UNTRIED = "*Not tried here.*"
# What id says, and the prompt behind it: what is typed before that may get lost.
AS_ROOT = r"root\r\n.*\$ $"
BY_PASSWORD = ("-o", "PubkeyAuthentication=no")


class Recipes:
    """`site` as the README leaves it, and shells in which the recipes are typed."""

    def __init__(self, site):
        self.site = site
        self.host = site.host
        self.phone = site.phone
        site.give_key("alice")
        self.shells = {"host": site.admin()}
        for shell in self.shells.values():
            shell.type("cd /debs")

    def follow(self, title, **words):
        """Types it; `words` stand in place of their capital letters."""
        self.phone.skip()
        said = ""
        assert all(any(word in block.text for block in blocks(GUIDE, title)) for word in words), f"{title}: no {words}"
        for block in blocks(GUIDE, title):
            text = block.text
            for word, value in words.items():
                text = text.replace(word, value)
            if "append" in block.marks:
                self.above_default(block.marks["append"], text)
                continue
            for command in block.commands:
                said += self.shells[block.marks["on"]].type(command, self.site.answers_to_commands(self.phone))
        return said

    def above_default(self, file, text):
        policy = self.host.read(file)
        before, default, after = policy.partition("[default]")
        self.host.write(file, f"{before}\n{text}\n{default}{after}")

    def ssh(self, *options):
        """What alice is asked when she logs in."""
        self.phone.skip()
        terminal = self.site.ssh("alice", options=options)
        return self.site.let_in(terminal), terminal


@pytest.fixture(scope="module")
def recipes(site):
    site.before_installing = listing(site.host)
    site.follow_readme(upto="countersign enable")
    return Recipes(site)


def listing(host):
    """Every file that is not a log, a cache, or dpkg's and systemd's own book-keeping, with its bytes."""
    out = host.shell(
        "find / -xdev ! -type d "
        "! -path '/proc/*' ! -path '/sys/*' ! -path '/run/*' ! -path '/tmp/*' ! -path '/dev/*' ! -path '/root/*' ! -path '/home/*' "
        "! -path '/var/log/*' ! -path '/var/cache/*' ! -path '/var/lib/dpkg/*' ! -path '/var/lib/apt/*' ! -path '/debs/*' "
        "-exec md5sum {} + 2>/dev/null || true"
    ).stdout
    return dict(reversed(line.split("  ", 1)) for line in out.splitlines())


def test_ssh_with_keys(recipes):
    recipes.follow("ssh with keys")
    recipes.site.confirm()
    asked, _ = recipes.ssh()
    assert asked == ["tap"]
    terminal = recipes.site.ssh("alice", options=BY_PASSWORD)
    terminal.expect("Permission denied")


def test_ssh_with_passwords(recipes):
    recipes.follow("ssh with passwords")
    asked, _ = recipes.ssh(*BY_PASSWORD)
    assert asked == ["password", "code"]


def test_ssh_with_a_key_and_a_password(recipes):
    recipes.follow("ssh with a key and a password")
    asked, _ = recipes.ssh()
    assert asked == ["password", "code"]
    terminal = recipes.site.ssh("alice", options=BY_PASSWORD)
    terminal.expect("Permission denied")


def test_sudo(recipes):
    recipes.follow("sudo")
    recipes.site.confirm()
    _, terminal = recipes.ssh()
    terminal.send("sudo -k; sudo id -un")
    assert recipes.site.let_in(terminal, until=AS_ROOT) == ["password", "code"]
    terminal.send("sudo id -un")
    assert recipes.site.let_in(terminal, until=AS_ROOT) == []


def test_su(recipes):
    recipes.follow("su")

    def su(terminal):
        terminal.send("su bob -c 'id -un'")
        assert recipes.site.let_in(terminal, until=r"bob\r\n.*\$ $", password=PASSWORDS["bob"]) == ["password", "code"]

    recipes.site.confirm(su)
    assert recipes.host.run("su", "-", "bob", "-c", "id -un").stdout.strip() == "bob"


def test_the_console(recipes):
    # He came in by su: without a device he would be locked out, and nothing changed.
    bob = recipes.site.device("bob")
    recipes.shells["host"].type("countersign pair bob", [(LINK, bob.pairs)])
    recipes.follow("The console")

    def console(_terminal):
        login = recipes.host.console_login("alice")
        assert recipes.site.let_in(login) == ["password", "code"]

    recipes.site.confirm(console)
    rescue = recipes.host.console_login("rescue")
    assert recipes.site.let_in(rescue, password=PASSWORDS["rescue"]) == ["password"]


def test_cron_and_services(recipes):
    said = recipes.follow("cron and services")
    files = set(re.findall(r"^/etc/pam\.d/(\S+)", said, re.MULTILINE))
    assert files and files <= {"sshd", "sudo", "sudo-i", "su", "su-l", "login"}, said
    for command in ("runuser -u bob -- id -un", "su bob -c 'id -un'", "sudo -u bob id -un"):
        assert recipes.host.shell(command).stdout.strip() == "bob"
    # That cron runs with the daemon dead is tried in test_night.py.


def test_automation(recipes, tmp_path):
    site, host = recipes.site, recipes.host
    host.run("usermod", "--shell", "/bin/bash", "backup")
    site.laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/backup-key")
    fingerprint = site.laptop.run("ssh-keygen", "-lf", "/root/backup-key").stdout.split()[1]
    host.write("/etc/ssh/backup-keys", site.laptop.read("/root/backup-key.pub"))
    # As it comes: sshd takes a key alone.
    host.write("/etc/ssh/sshd_config.d/10-methods.conf", "Match User backup\nAuthorizedKeysFile /etc/ssh/backup-keys\n")
    host.run("systemctl", "reload", "ssh")
    recipes.follow("Automation", **{"SHA256:FINGERPRINT": fingerprint})

    rung = len(recipes.phone.requests())
    batch = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectionAttempts=5")
    site.laptop.run(*batch, "-i", "/root/backup-key", "backup@host", "true")
    assert len(recipes.phone.requests()) == rung

    recipes.phone.skip()
    first = site.laptop.start(*batch, "alice@host", "true", user="alice")
    recipes.phone.yes_for("4h")
    assert first.wait(20) == 0, first.stderr.read()
    rung = len(recipes.phone.requests())
    ansible(site, tmp_path)
    assert len(recipes.phone.requests()) == rung
    assert "alice" in host.run("countersign", "leases").stdout


def ansible(site, directory):
    """A task on the host, by alice's ssh on the laptop."""
    program = next((file for file in ("/usr/bin/ansible", REPOSITORY / ".build/venv/bin/ansible") if os.path.exists(file)), None)
    if not program:
        pytest.skip("no ansible here; the first login of its kind was let in by a lease")
    ssh = directory / "ssh"
    ssh.write_text("#!/bin/sh\nexec " + " ".join(site.laptop.argv("ssh", user="alice")) + ' "$@"\n')
    ssh.chmod(0o755)
    done = subprocess.run(
        [program, "all", "-i", "host,", "-u", "alice", "-m", "ping", "-e", "ansible_python_interpreter=/usr/bin/python3"],
        capture_output=True, text=True, timeout=90,
        env={**os.environ, "HOME": str(directory), "ANSIBLE_HOME": str(directory), "ANSIBLE_SSH_EXECUTABLE": str(ssh),
             "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_ARGS": "-o ControlMaster=no", "ANSIBLE_LOCAL_TEMP": str(directory)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_upgrade(recipes, newer):
    recipes.shells["host"].type(f"cd {newer}")
    recipes.follow("An upgrade")
    recipes.shells["host"].type("cd /debs")
    asked, _ = recipes.ssh(*BY_PASSWORD)
    assert asked == ["password", "code"]


def test_an_outage(recipes):
    site = recipes.site
    site.server.power_off()
    shell = recipes.shells["host"]
    said = ""
    for command in blocks(GUIDE, "An outage")[0].commands:
        said += shell.type(command, check=not command.endswith("status"))
    code = re.search(r"((?:[0-9A-Za-z]{4}[- ]){3}[0-9A-Za-z]{4})", said)[1]
    terminal = site.ssh("alice", options=BY_PASSWORD)
    terminal.answer_password(PASSWORDS["alice"])
    terminal.expect("cannot be reached. Recovery code")
    terminal.send(code)
    terminal.expect(r"\$ $")
    site.server.boot()
    wait_until(lambda: recipes.host.run("countersign", "status", check=False).returncode == 0, 90, "the host is connected again")


def test_a_lost_phone(recipes):
    site = recipes.site
    lost, site.phone = site.phone, site.device("alice")
    recipes.phone = site.phone
    recipes.follow("A lost phone")
    assert len(recipes.host.run("countersign", "devices", "alice").stdout.splitlines()) == 2
    rung = len(lost.requests())
    asked, _ = recipes.ssh(*BY_PASSWORD)
    assert asked == ["password", "code"] and len(lost.requests()) == rung


def test_moving_the_server(recipes, machine):
    site = recipes.site
    new = machine("push2.example.com")
    new.write("/etc/ssl/certs/ca-certificates.crt", site.server.read("/etc/ssl/certs/ca-certificates.crt"))
    first, second = blocks(GUIDE, "Moving the server")
    old_shell, new_shell = site.root_shell(site.server), site.root_shell(new)
    for command in first.commands:
        old_shell.type(command)
    new.path("/root/countersign-server.tar.gz").write_bytes(site.server.path("/root/countersign-server.tar.gz").read_bytes())
    site.server.power_off()
    new_shell.type("cd /debs")
    for command in second.commands:
        new_shell.type(command)
    for other in (site.host, site.laptop):
        hosts = other.read("/etc/hosts").replace(f"{site.server.address} push.example.com", f"{new.address} push.example.com")
        other.write("/etc/hosts", hosts)
    wait_until(lambda: recipes.host.run("countersign", "status", check=False).returncode == 0, 90, "the host is connected to the new one")
    asked, _ = recipes.ssh(*BY_PASSWORD)
    assert asked == ["password", "code"]


def test_off_again(recipes):
    site, host = recipes.site, recipes.host
    recipes.follow("Off again")
    now = listing(host)
    ours = {name for name in set(now) ^ set(site.before_installing) if "countersign" in name}
    assert not ours, ours
    assert {name: text for name, text in now.items() if name.startswith("/etc/pam.d")} == {
        name: text for name, text in site.before_installing.items() if name.startswith("/etc/pam.d")
    }
    assert host.run("find", "/", "-xdev", "-iname", "*countersign*", "-not", "-path", "/var/log/*", "-not", "-path", "/root/*").stdout == ""
    terminal = site.ssh("alice", options=BY_PASSWORD)
    terminal.answer_password(PASSWORDS["alice"])
    terminal.expect(r"\$ $")


def test_every_recipe_is_tried_or_says_that_it_is_not():
    text = (REPOSITORY / GUIDE).read_text()
    part = text[text.index(f"\n## {PART}\n") :]
    part = part[: part.index("\n## ", 5)]
    untried = 0
    for recipe in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        title = recipe.splitlines()[0]
        if UNTRIED in recipe:
            untried += 1
        elif played := re.search(r"\*Played\s+on\s+.*?`(tests/test_\w+\.py)`", recipe, re.DOTALL):
            # With what a small Debian that is booted for this has not got.
            assert (REPOSITORY / played[1]).is_file(), f"{title!r} names {played[1]}, which is not there"
        else:
            name = "test_" + re.sub(r"\W+", "_", title.lower())
            assert name in globals(), f"no test types {title!r}"
    assert untried <= 5

