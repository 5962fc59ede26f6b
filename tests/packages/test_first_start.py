"""A server's first start by hand, and the service that follows on its files; a host that joins with the line that was printed."""

import json
import re

import pytest

from lab.process import wait_until

DATABASE = "/var/lib/countersign-server/countersign-server.db"
LINE = r"(countersign join https://push\.example\.com --token (\S+))\r\n"


@pytest.fixture(scope="module")
def started(site):
    """The server runs on a terminal; gives that terminal, after what it printed."""
    site.server.shell("apt install -y /debs/countersign-server_*.deb")
    screen = site.server.terminal("countersign-server", "--domain", "push.example.com")
    screen.expect(LINE)
    screen.token = screen.child.match.group(2)
    screen.expect("systemctl enable --now countersign-server")
    return screen


def owners(server):
    return set(server.shell("stat -c %U /var/lib/countersign-server /var/lib/countersign-server/*").stdout.split())


def test_it_listens_for_everybody_and_is_nobody_but_its_user(site, started):
    pid = site.server.run("pidof", "countersign-server").stdout.strip()
    assert site.server.run("stat", "-c", "%U", f"/proc/{pid}").stdout.strip() == "countersign-server"
    assert f"pid={pid}," in site.server.run("ss", "-ltnpH", "sport = :443").stdout
    assert owners(site.server) == {"countersign-server"}


def test_the_service_goes_on_with_its_files_and_prints_no_token(site, started):
    started.interrupt()
    started.finish()
    wait_until(lambda: site.server.run("pidof", "countersign-server", check=False).returncode != 0, 10, "it has stopped")
    site.server.shell("sed -i 's/^#= domain = /domain = /' /etc/countersign/server.toml")
    # As some have it; root reads it as that user.
    site.server.run("chown", "countersign-server", "/etc/countersign/server.toml")
    site.server.run("systemctl", "enable", "--now", "countersign-server")
    wait_until(site.has_certificate, 30, "it has its certificate")
    assert owners(site.server) == {"countersign-server"}
    assert "join-" not in site.server.journal("-u", "countersign-server")
    said = site.server.run("countersign-server", "token").stdout
    assert re.fullmatch(LINE.replace(r"\r", ""), said), said
    assert owners(site.server) == {"countersign-server"}


def test_the_line_joins_a_host_that_starts_its_daemon_for_good(site, started):
    site.host.shell("apt install -y /debs/countersign_*.deb /debs/libpam-countersign_*.deb")
    site.host.run("systemctl", "disable", "--now", "countersignd.service", "countersignd-pam.socket", "countersignd-self.socket")
    words = ["countersign", "join", "https://push.example.com", "--token", started.token]
    said = site.host.run(*words).stdout
    assert "countersignd runs, and starts with this machine." in said and "Next: countersign setup" in said
    again = site.host.run(*words, "--json").stdout
    assert json.loads(again)["already"] is True
    site.host.reboot()
    wait_until(lambda: site.host.run("countersign", "status", check=False).returncode == 0, 30, "it is connected again")
    site.host.assert_well("it does not exist", "is faulty: every login is refused")
