"""dnf (version 4) asks a phone before it changes packages: the plugin in a real dnf, with a repository and a root of the test's."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lab import paths
from lab.repository import run

PLUGIN = paths.REPOSITORY / "packaging/dnf/countersign.py"

SPEC = """
Name: {name}
Version: {version}
Release: 1
Summary: of the lab
License: none
BuildArch: noarch
%description
%files
"""


class DnfRoot:
    """Where dnf and rpm work: a folder. Its repository has hello 1 and 2, and countersign 1 and 2."""

    def __init__(self, directory):
        self.directory = directory
        self.repository = directory / "repository"
        self.repository.mkdir()
        self.plugins = directory / "plugins"
        self.plugins.mkdir()
        self.root = directory / "root"
        for name in ("hello", "countersign"):
            for version in (1, 2):
                spec = directory / f"{name}.spec"
                spec.write_text(SPEC.format(name=name, version=version))
                run(
                    "rpmbuild", "-bb", "--quiet", "--define", f"_topdir {directory}/build",
                    "--define", f"_rpmdir {self.repository}", spec,
                )  # fmt: skip
        run("createrepo_c", "--quiet", self.repository)
        self.config = directory / "dnf.conf"
        self.config.write_text(
            f"[main]\nplugins=1\npluginpath={self.plugins}\npluginconfpath={self.plugins}\nreposdir=/nonexistent\n"
            f"gpgcheck=0\ncachedir={directory}/cache\nlogdir={directory}/log\npersistdir={directory}/persist\n"
            # Packages of a repository on this machine are used where they lie.
            "keepcache=1\n"
        )

    def turn_on(self):
        text = PLUGIN.read_text()
        assert text.count('"/usr/bin/countersign"') == 1
        (self.plugins / PLUGIN.name).write_text(text.replace("/usr/bin/countersign", str(paths.COMMAND)))

    def start(self, *words):
        argv = [
            "dnf", "-y", f"--config={self.config}", f"--installroot={self.root}", "--releasever=9",
            f"--repofrompath=lab,file://{self.repository}", "--repo=lab", *words,
        ]  # fmt: skip
        return subprocess.Popen(
            argv, env={**os.environ, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def dnf(self, *words):
        """Runs it; its exit code and what it said."""
        started = self.start(*words)
        said = started.communicate(timeout=60)[0]
        return started.returncode, said

    def packages(self):
        return sorted(run("rpm", f"--root={self.root}", "-qa").stdout.split())

    def rpm(self, name, version):
        return self.repository / f"noarch/{name}-{version}-1.noarch.rpm"


@pytest.fixture
def dnf(tmp_path):
    """hello and countersign are there in their old versions."""
    for program in ("dnf", "rpmbuild", "createrepo_c"):
        assert shutil.which(program), f"{program} is missing: packaging/install-deps --tests"
    made = DnfRoot(tmp_path)
    code, said = made.dnf("install", "hello-1", "countersign-1")
    assert code == 0, said
    made.turn_on()
    return made


def test_dnf_waits_for_the_phone(stack, dnf):
    phone = stack.approver("root")
    before = dnf.packages()
    assert before == ["countersign-1-1.noarch", "hello-1-1.noarch"]

    removing = dnf.start("remove", "hello")
    request = phone.next_request()
    assert (request["service"], request["action"], request["detail"]) == ("ask", "dnf.remove", "hello 1-1")
    phone.approve(request)
    said = removing.communicate(timeout=60)[0]
    assert removing.returncode == 0, said
    assert dnf.packages() == ["countersign-1-1.noarch"]

    installing = dnf.start("install", "hello-1")
    request = phone.next_request(after=1)
    assert (request["action"], request["detail"]) == ("dnf.install", "hello 1-1")
    digest = hashlib.sha256(dnf.rpm("hello", 1).read_bytes()).hexdigest()
    line = f"install hello noarch 1-1 from lab sha256:{digest}\n"
    assert request["list"]["sha256"] == hashlib.sha256(line.encode()).hexdigest()
    phone.approve(request)
    said = installing.communicate(timeout=60)[0]
    assert installing.returncode == 0, said
    assert dnf.packages() == before

    # What was approved is what is installed.
    upgrading = dnf.start("upgrade", "hello")
    request = phone.next_request(after=2)
    assert (request["action"], request["detail"]) == ("dnf.upgrade", "hello 1-1 -> 2-1")
    rpm = dnf.rpm("hello", 2)
    good = rpm.read_bytes()
    rpm.write_bytes(good + b"\0")
    phone.approve(request)
    said = upgrading.communicate(timeout=60)[0]
    assert upgrading.returncode == 1
    assert "is not the file that was approved" in said and "Countersign: not approved" in said
    assert dnf.packages() == before
    rpm.write_bytes(good)

    denied = dnf.start("upgrade", "hello")
    phone.decide(phone.next_request(after=3), "deny")
    said = denied.communicate(timeout=60)[0]
    assert denied.returncode == 1 and "Countersign: not approved" in said
    assert dnf.packages() == before


def test_with_the_daemon_dead_dnf_changes_countersign_alone(dnf):
    before = dnf.packages()
    code, said = dnf.dnf("upgrade", "hello", "countersign")
    assert code == 1 and "Countersign: not approved" in said
    assert "If it cannot wait: do it with dnf --disableplugin=countersign" in said
    assert dnf.packages() == before
    code, said = dnf.dnf("upgrade", "countersign")
    assert code == 0, said
    assert "nobody is asked" in said
    assert dnf.packages() == ["countersign-2-1.noarch", "hello-1-1.noarch"]
    # The plugin cannot ask: dnf would go on after any other error of a plugin.
    plugin = dnf.plugins / PLUGIN.name
    text = plugin.read_text()
    plugin.write_text(text.replace(str(paths.COMMAND), "/run/lab/broken"))
    broken = Path("/run/lab/broken")
    broken.write_text("no program\n")
    broken.chmod(0o755)
    code, said = dnf.dnf("upgrade", "hello")
    assert code == 1 and "nothing was asked" in said
    # The program is gone, the plugin is still there.
    broken.unlink()
    code, said = dnf.dnf("upgrade", "hello")
    assert code == 0, said
    assert dnf.packages() == ["countersign-2-1.noarch", "hello-2-1.noarch"]
    # The way out that was printed is one.
    plugin.write_text(text)
    code, said = dnf.dnf("--disableplugin=countersign", "remove", "hello")
    assert code == 0, said
    assert dnf.packages() == ["countersign-2-1.noarch"]
