#!/usr/bin/env python3
"""packaging/lean-vendor.py TREE: takes out of TREE/vendor what no Linux system builds (half of it: import libraries of Windows).

cargo wants a manifest of every crate that Cargo.lock names, so that is what is left of those.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

# Debian's architectures. What is for none of them is left out.
ARCHITECTURES = (
    "x86_64-unknown-linux-gnu",
    "i686-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "armv7-unknown-linux-gnueabihf",
    "powerpc64le-unknown-linux-gnu",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
)


def wanted(tree):
    line = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline", "--all-features"]
    line += [word for one in ARCHITECTURES for word in ("--filter-platform", one)]
    graph = json.loads(subprocess.run(line, cwd=tree, check=True, stdout=subprocess.PIPE).stdout)
    built = {node["id"] for node in graph["resolve"]["nodes"]}
    return {Path(one["manifest_path"]).parent.name for one in graph["packages"] if one["id"] in built}


def empty(crate):
    """Leaves the manifest, and what it says is there, empty."""
    manifest = (crate / "Cargo.toml").read_bytes()
    digest = json.loads((crate / ".cargo-checksum.json").read_bytes())["package"]
    targets = tomllib.loads(manifest.decode())
    shutil.rmtree(crate)
    places = [targets.get("lib", {}).get("path", "src/lib.rs")]
    places += [one["path"] for kind in ("bin", "example", "test", "bench") for one in targets.get(kind, [])]
    for place in places:
        (crate / place).parent.mkdir(parents=True, exist_ok=True)
        (crate / place).touch()
    (crate / "Cargo.toml").write_bytes(manifest)
    (crate / ".cargo-checksum.json").write_text(json.dumps({"files": {}, "package": digest}))


def main(tree):
    tree = Path(tree)
    keep = wanted(tree)
    for crate in sorted((tree / "vendor").iterdir()):
        if crate.name not in keep:
            empty(crate)


if __name__ == "__main__":
    main(*sys.argv[1:])
