"""README.md's own commands, from `apt install` to a login that is approved, typed as they stand there."""

import re

import pytest
from documents import blocks, typed_on
from setting import NAME, PASSWORDS
from shell import Shell

from lab.process import wait_until

HEADING = "Install it"
JUST_INSTALLED = ("it does not exist", "is faulty: every login is refused")


@pytest.fixture(scope="module")
def installed(site):
    """Everything that is typed below "Install it", in its order."""
    site.laptop.shell("apt install -y /debs/countersign_*.deb")
    site.phone = site.device("alice")
    shells = {NAME: site.root_shell(site.server), "host": site.root_shell(site.host)}
    for shell in shells.values():
        shell.type("cd /debs")
        shell.answers = site.answers_to_commands(site.phone)
    for block in typed_on("README.md", HEADING):
        if block.marks["on"] == "login":
            shells["login"] = new_login(site)
        for command in block.commands:
            shell = shells[block.marks["on"]]
            if "TOKEN" in command:
                command = command.replace("TOKEN", site.token)
            said = shell.type(command)
            if command.endswith("server token"):
                site.token = said.split()[-1]
            if command.startswith("systemctl enable") and "server" in command:
                wait_until(site.has_certificate, 30, f"{NAME} has its certificate")
    return site


def new_login(site):
    """alice's, from the laptop, with sudo's questions answered as well."""
    terminal = site.ssh("alice")
    terminal.answer_password(PASSWORDS["alice"])
    terminal.answer_code(site.phone.yes())
    shell = Shell(terminal)
    shell.answers = [(r"password for[^:]*: ?$", PASSWORDS["alice"]), *site.answers_to_commands(site.phone)]
    return shell


def test_everything_that_is_typed_works(installed):
    assert installed.phone.alive()


def test_nobody_passes_ssh_without_the_phone(installed):
    """What `countersign enable` wrote was confirmed, and asks."""
    assert "sshd" in installed.host.read("/etc/countersign/enabled").split()

    shell = installed.ssh("alice", "echo", "in", "as", "alice")
    shell.answer_password(PASSWORDS["alice"])
    shell.answer_code(installed.phone.yes())
    assert shell.finish() == 0 and "in as alice" in shell.text

    shell = installed.ssh("alice", "echo", "in", "as", "alice")
    shell.answer_password(PASSWORDS["alice"])
    shell.answer_code(installed.phone.no())
    assert shell.finish() != 0 and "in as alice" not in shell.text


def test_a_key_alone_does_not_open_either(installed):
    installed.give_key("alice")
    # The denial of a moment ago still holds.
    installed.host.run("countersign", "unblock", "alice")
    shell = installed.ssh("alice", "echo", "in", "as", "alice")
    installed.phone.yes()
    assert shell.finish() == 0 and "in as alice" in shell.text

    # bob has no device, and nobody's rings: he waits as anybody would who is not answered.
    installed.give_key("bob")
    shell = installed.ssh("bob", "echo", "in", "as", "bob")
    with pytest.raises(AssertionError, match="waited too long"):
        shell.expect("in as bob", timeout=3)


def test_all_is_well(installed):
    installed.server.assert_well()
    installed.host.assert_well(*JUST_INSTALLED)


def test_what_is_typed_says_where():
    """Whoever adds commands to the README says where they are typed, so that they are."""
    for block in blocks("README.md", HEADING):
        assert not re.search(r"^(countersign|systemctl|apt) ", block.text, re.MULTILINE) or "on" in block.marks, block
