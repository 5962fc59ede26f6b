"""The module as a file: what it needs, what it exports, where unsafe code may be."""

import re
import subprocess

import pytest
from lab import paths


def output(*argv):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


def test_it_needs_nothing_but_libc_libpam_and_libgcc():
    needed = set(re.findall(r"NEEDED.*\[([^]]+)\]", output("readelf", "-d", paths.MODULE)))
    needed = {name for name in needed if not name.startswith("ld-linux")}
    assert needed <= {"libc.so.6", "libpam.so.0", "libgcc_s.so.1"}


def test_it_exports_the_pam_functions_and_nothing_else():
    exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", paths.MODULE).splitlines()}
    assert exported == {
        "pam_sm_authenticate",
        "pam_sm_setcred",
        "pam_sm_acct_mgmt",
        "pam_sm_open_session",
        "pam_sm_close_session",
        "pam_sm_chauthtok",
    }


def test_it_stays_mapped_and_is_hardened():
    dynamic = output("readelf", "-d", paths.MODULE)
    assert "NODELETE" in dynamic
    assert "TEXTREL" not in dynamic
    assert re.search(r"BIND_NOW|NOW", dynamic)
    stack = next(line for line in output("readelf", "-lW", paths.MODULE).splitlines() if "GNU_STACK" in line)
    assert " RWE " not in stack


def test_the_release_build_is_small():
    if paths.PROFILE != "release":
        pytest.skip(f"this is the {paths.PROFILE} build")
    assert paths.MODULE.stat().st_size <= 600 * 1024


def test_unsafe_code_is_in_one_file():
    sources = [
        file
        for file in paths.REPOSITORY.rglob("*.rs")
        if not {"target", ".build"} & set(file.relative_to(paths.REPOSITORY).parts)
    ]
    assert sources
    unsafe = re.compile(r"^(?!\s*//).*\bunsafe\b\s*(\{|fn|impl|extern)", re.MULTILINE)
    found = [str(file.relative_to(paths.REPOSITORY)) for file in sources if unsafe.search(file.read_text())]
    assert found == ["pam_module/src/host.rs"]
