"""README.md's own commands, from `apt install` to a login that is approved, typed as they stand there."""

import re

import pytest
from documents import blocks
from setting import ASKED, INSTALL, NO_OTHER, PASSWORDS


@pytest.fixture(scope="module")
def installed(site):
    """Everything that is typed below "Install it", in its order."""
    site.follow_readme()
    return site


def test_everything_that_is_typed_works(installed):
    assert installed.phone.alive()


def test_nobody_passes_ssh_without_the_phone(installed):
    """What `countersign enable` wrote was confirmed, and asks."""
    assert "sshd" in installed.host.read("/etc/countersign/enabled").split()

    shell = installed.ssh("alice", "echo", "in", "as", "alice")
    shell.answer_password(PASSWORDS["alice"])
    shell.answer_code(installed.phone.yes())
    assert shell.finish() == 0 and "in as alice" in shell.text

    shell = installed.ssh("alice", "echo", "in", "as", "alice", options=NO_OTHER)
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
    installed.host.assert_well(*ASKED)


def test_what_is_typed_says_where():
    """Whoever adds commands to the README says where they are typed, so that they are."""
    for block in blocks("README.md", INSTALL):
        assert not re.search(r"^(countersign|systemctl|apt) ", block.text, re.MULTILINE) or "on" in block.marks, block
