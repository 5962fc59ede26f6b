#!/usr/bin/env python3
"""packaging/sbom.py TREE COMMIT DATE: what a source tree with vendored crates is made of, as CycloneDX 1.5 on standard output.

Names, versions, licences and who needs whom are cargo's (`cargo metadata`), digests are Cargo.lock's. `scope` says whether a
crate is in what is installed ("required") or needed for building, for tests or on other systems only ("excluded").
It is checked against CycloneDX's schema by hand, see docs/release.md.
"""

import json
import re
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

# What is installed on machines.
SHIPPED = ("pam_countersign", "countersignd", "countersign", "countersign-server")
TARGET = "x86_64-unknown-linux-gnu"


def metadata(tree, *more):
    line = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline", *more]
    return json.loads(subprocess.run(line, cwd=tree, check=True, stdout=subprocess.PIPE).stdout)


def installed(graph):
    """Ids of the packages whose code is in what is shipped."""
    packages = {package["id"]: package for package in graph["packages"]}
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    found, todo = set(), [one for one, package in packages.items() if package["name"] in SHIPPED]
    while todo:
        one = todo.pop()
        # A macro runs in the compiler; so does what it needs.
        is_macro = any("proc-macro" in target["kind"] for target in packages[one]["targets"])
        if one not in found and not is_macro:
            found.add(one)
            todo += [
                dep["pkg"] for dep in nodes[one]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
            ]
    return found


def ref(package):
    """A crate's address; our own crates are in no registry."""
    name = f"{package['name']}@{package['version']}"
    return f"pkg:cargo/{name}" if package["source"] else name


def sqlite(tree):
    """SQLite's C source, which comes inside a crate."""
    for header in sorted(tree.glob("vendor/libsqlite3-sys-*/sqlite3/sqlite3.h")):
        version = re.search(r'^#define SQLITE_VERSION\s+"([0-9.]+)"', header.read_text(encoding="utf-8"), re.MULTILINE)
        if version:
            return {
                "type": "library",
                "bom-ref": f"pkg:generic/sqlite@{version[1]}",
                "name": "sqlite",
                "version": version[1],
                "description": "compiled into countersign-server, from the crate libsqlite3-sys",
                "scope": "required",
                "licenses": [{"license": {"id": "blessing"}}],
                "purl": f"pkg:generic/sqlite@{version[1]}",
            }
    return None


def component(package, shipped, digests, bundled):
    one = {
        "type": "application" if package["name"] in SHIPPED else "library",
        "bom-ref": ref(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if shipped else "excluded",
    }
    if package.get("description"):
        one["description"] = " ".join(package["description"].split())
    if package["source"]:
        digest = digests[package["name"], package["version"]]
        one["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package.get("license"):
        # Older crates write a slash for "or".
        one["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if package["source"]:
        one["purl"] = ref(package)
    if package.get("repository"):
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if bundled:
        one["components"] = [bundled]
    return one


def main(tree, commit, date):
    tree = Path(tree)
    lock = tomllib.loads((tree / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    digests = {(one["name"], one["version"]): one["checksum"] for one in lock if "checksum" in one}
    everything = metadata(tree, "--all-features")
    shipped = installed(metadata(tree, "--filter-platform", TARGET))
    packages = {one["id"]: one for one in everything["packages"]}
    if len(packages) != len(lock):
        sys.exit(f"sbom: Cargo.lock has {len(lock)} packages, cargo metadata {len(packages)}")

    workspace = tomllib.loads((tree / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]
    root = {
        "type": "application",
        "bom-ref": "countersign",
        "name": "countersign",
        "version": workspace["version"],
        "description": "Push approval for Linux logins",
        "licenses": [{"expression": workspace["license"]}],
        "externalReferences": [{"type": "vcs", "url": workspace["repository"]}],
        "properties": [{"name": "git:commit", "value": commit}],
    }
    web = {
        "type": "application",
        "bom-ref": "countersign-web",
        "name": "countersign-web",
        "version": workspace["version"],
        "scope": "required",
        "description": "The web approver (server/web): modules of its own, without any dependency, inside countersign-server",
        "licenses": [{"expression": workspace["license"]}],
    }
    bundled = sqlite(tree)
    components = [web] + [
        component(one, id_ in shipped, digests, bundled if one["name"] == "libsqlite3-sys" else None)
        for id_, one in packages.items()
    ]
    edges = {
        ref(packages[node["id"]]): sorted(ref(packages[one]) for one in node["dependencies"])
        for node in everything["resolve"]["nodes"]
    }
    edges[f"countersign-server@{workspace['version']}"].append("countersign-web")
    members = [ref(packages[one]) for one in everything["workspace_members"]]
    edges |= {"countersign": sorted(members), "countersign-web": []}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{workspace['repository']}/commit/{commit}").urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(int(date), timezone.utc).isoformat().replace("+00:00", "Z"),
            "component": root,
        },
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": one, "dependsOn": edges[one]} for one in sorted(edges)],
    }
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
