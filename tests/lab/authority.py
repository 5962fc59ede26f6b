"""An authority that certifies devices, with ssh-keygen alone: the administrator's guide's steps."""

import subprocess

from .daemon import STATE


class Authority:
    """Its key lies in `directory`, and what it has certified."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self._keygen("-t", "ed25519", "-N", "", "-f", "devices-ca")

    def _keygen(self, *arguments):
        subprocess.run(["ssh-keygen", "-q", *arguments], check=True, capture_output=True, cwd=self.directory)

    def line(self, names):
        """Of a host's approvers, for certificates of these users and principals."""
        key = (self.directory / "devices-ca.pub").read_text()
        return f'{names} cert-authority,namespaces="decision@countersign.org" {key}'

    def certify(self, user, names):
        """A certificate about the device that the host has paired for this user."""
        own = (STATE / "approvers").read_text().splitlines()
        keys = [line.split(" ")[2:4] for line in own if line.startswith(f"{user} ")]
        (self.directory / f"{user}.pub").write_text(" ".join(keys[0]) + "\n")
        option = "critical:approver@countersign.org"
        self._keygen("-s", "devices-ca", "-I", f"{user}'s", "-n", names, "-O", option, "-V", "+1w", f"{user}.pub")
        return (self.directory / f"{user}-cert.pub").read_text()
