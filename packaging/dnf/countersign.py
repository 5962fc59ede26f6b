"""Countersign asks a phone before dnf (version 4) installs, upgrades or removes anything.

A plugin of dnf: it is off until it lies in dnf's folder of plugins; countersign-ask(1) says what it does and what it does
not. Where the program is gone, and this file is still there, dnf goes on.
"""

import json
import os
import subprocess

import dnf
import dnf.exceptions
import dnf.transaction
import libdnf.transaction

COMMAND = "/usr/bin/countersign"

# What arrives, and what goes because nothing takes its place. Of what an upgrade replaces only the version counts.
ARRIVES = {
    dnf.transaction.PKG_INSTALL: "install",
    dnf.transaction.PKG_OBSOLETE: "install",
    dnf.transaction.PKG_REINSTALL: "reinstall",
    dnf.transaction.PKG_DOWNGRADE: "downgrade",
    dnf.transaction.PKG_UPGRADE: "upgrade",
}
GOES = {dnf.transaction.PKG_REMOVE, dnf.transaction.PKG_OBSOLETED}
REPLACED = {dnf.transaction.PKG_UPGRADED, dnf.transaction.PKG_DOWNGRADED, dnf.transaction.PKG_REINSTALLED}
# Nothing changes but the note why a package is there.
NOTED = libdnf.transaction.TransactionItemAction_REASON_CHANGE


def text(value):
    """A header's text; older releases of rpm have bytes."""
    return value.decode() if isinstance(value, bytes) else value


def lines(transaction):
    """A line of JSON for each package that changes. What arrives says itself who it is: rpm goes by that, and not by the
    repository's list."""
    items = [(item.action, item.pkg) for item in transaction]
    old = {}
    for action, package in items:
        if action in REPLACED:
            old[package.name] = package.evr
            old[package.name, package.arch] = package.evr
    for action, package in items:
        line = {"name": package.name, "architecture": package.arch}
        if action in ARRIVES:
            header = package._header
            line = {"name": text(header["name"]), "architecture": text(header["arch"])}
            line["what"] = ARRIVES[action]
            line["old"] = old.get((line["name"], line["architecture"]), old.get(line["name"]))
            line["new"] = text(header["evr"])
            line["file"] = os.path.abspath(package.localPkg())
            line["repository"] = None if package._from_cmdline else package.reponame
        elif action in GOES:
            line["what"] = "remove"
            line["old"] = package.evr
        elif action in REPLACED or action == NOTED:
            continue
        else:
            raise ValueError(f"dnf does something unknown ({action}) to a package")
        yield json.dumps(line) + "\n"


class Countersign(dnf.Plugin):
    """Asks right before rpm runs, when everything was downloaded and tried."""

    name = "countersign"

    def pre_transaction(self):
        if not os.access(COMMAND, os.X_OK) or not self.base.transaction:
            return
        try:
            said = "".join(lines(self.base.transaction))
            code = subprocess.run([COMMAND, "package-hook", "dnf"], input=said.encode(), check=False).returncode
        except Exception as error:  # dnf goes on after any other kind of exception
            raise dnf.exceptions.Error(f"Countersign: nothing was asked, so nothing is done: {error}") from error
        if code != 0:
            raise dnf.exceptions.Error("Countersign: not approved")
