"""Packages, a repository of them, and a machine's root for apt and dpkg that is nothing but a folder."""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

from . import paths

FRAGMENT = paths.REPOSITORY / "packaging/apt/99countersign"


def run(*argv, check=True, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=60, **options)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def deb(control):
    """A Debian package of that control file and nothing else. dpkg-deb would take seconds for some hundred of them."""
    control_tar, data_tar = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=control_tar, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("./control")
        member.size = len(control)
        tar.addfile(member, io.BytesIO(control))
    tarfile.open(fileobj=data_tar, mode="w", format=tarfile.GNU_FORMAT).close()
    archive = b"!<arch>\n"
    members = {"debian-binary": b"2.0\n", "control.tar": control_tar.getvalue(), "data.tar": data_tar.getvalue()}
    for name, content in members.items():
        # All of even length, so that none needs padding.
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
    return archive


class Repository:
    """A flat repository of Debian packages without contents, which calls itself `origin`."""

    def __init__(self, directory, origin="Lab"):
        self.directory = Path(directory)
        self.directory.mkdir()
        self.origin = origin
        self.stanzas = []

    def file(self, name, version):
        return self.directory / f"{name}_{version.replace(':', '%3a')}_all.deb"

    def add(self, name, version="1.0", description="of the lab", **more):
        """Makes a package; `more` are fields of its control file, with _ for -."""
        fields = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "Lab <lab@example.com>"}
        fields |= {field.replace("_", "-"): value for field, value in more.items()} | {"Description": description}
        control = "".join(f"{field}: {value}\n" for field, value in fields.items())
        file = self.file(name, version)
        content = deb(control.encode())
        file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.stanzas.append(f"{control}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {digest}\n")
        return file

    def publish(self):
        """Makes the packages known to apt: their list, and its digest in the list of lists."""
        packages = "\n".join(self.stanzas).encode()
        (self.directory / "Packages").write_bytes(packages)
        digest = hashlib.sha256(packages).hexdigest()
        release = f"Origin: {self.origin}\nSuite: stable\nCodename: lab\nDate: Mon, 01 Jan 2024 00:00:00 UTC\n"
        (self.directory / "Release").write_text(f"{release}SHA256:\n {digest} {len(packages)} Packages\n")


class AptRoot:
    """Where apt and dpkg work: a folder, with a database that has nothing of this machine's."""

    def __init__(self, directory, *repositories):
        self.root = Path(directory)
        for folder in (
            "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
            "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg/updates",
            "var/lib/dpkg/info",
        ):  # fmt: skip
            (self.root / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        sources = [f"deb [trusted=yes] copy:{one.directory} ./\n" for one in repositories]
        (self.root / "etc/apt/sources.list").write_text("".join(sources))
        self.config = self.root / "apt.conf"
        self.config.write_text(
            f'Dir "{self.root}";\nDir::State::status "{self.root}/var/lib/dpkg/status";\n'
            f'DPkg::Options {{ "--root={self.root}"; "--force-unsafe-io"; }};\nAPT::Sandbox::User "root";\n'
        )
        self.environment = {**os.environ, "APT_CONFIG": str(self.config), "DEBIAN_FRONTEND": "noninteractive"}
        self.environment["LC_ALL"] = "C.UTF-8"
        self.apt("update")

    def argv(self, *words):
        return ["apt-get", "-q", "-y", "--allow-downgrades", *words]

    def apt(self, *words, check=True, loose=True):
        """Runs apt-get. With `loose` there is no terminal to ask at."""
        return run(*self.argv(*words), check=check, env=self.environment, start_new_session=loose)

    def turn_on(self):
        """What the guide says, with the built program in place of the installed one."""
        text = FRAGMENT.read_text()
        assert text.count("/usr/bin/countersign") == 2
        hook = self.root / "etc/apt/apt.conf.d" / FRAGMENT.name
        hook.write_text(text.replace("/usr/bin/countersign", str(paths.COMMAND)))
        return hook

    def packages(self):
        """`dpkg -l`, byte for byte, and dpkg's own database."""
        listed = run("dpkg", f"--root={self.root}", "-l", check=False).stdout
        return listed, (self.root / "var/lib/dpkg/status").read_bytes()

    def version(self, name):
        """The version that is installed; None where it is not."""
        done = run("dpkg-query", f"--root={self.root}", "-W", "-f", "${Status} ${Version}", name, check=False)
        status, _, version = done.stdout.rpartition(" ")
        return version if status == "install ok installed" else None
