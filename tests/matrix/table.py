"""The cells of the matrix, and the tables of docs/policy.md that are made of them.

    python3 tests/matrix/table.py      writes the tables into docs/policy.md
"""

import json
import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from lab.causes import CAUSES  # noqa: E402
from lab.matrix import GONE, NOT_REACHED, PASSED_BY, SERVICES  # noqa: E402

DOCUMENT = HERE.parent.parent / "docs" / "policy.md"
BEGIN, END = "<!-- made by tests/matrix/table.py -->", "<!-- until here -->"

# Which causes make no difference to which services: sudo knows no user who is not there.
WITHOUT = {"unknown": ("sudo",), "break-glass": ("sudo",)}


def policies():
    return tomllib.loads((HERE / "policies.toml").read_text())


def cells():
    path = HERE / "cells.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


def causes_of(policy):
    return policy.get("causes", list(CAUSES))


def services_of(policy, cause):
    services = policy.get("only", {}).get(cause) or policy.get("services", SERVICES)
    return [service for service in services if service not in WITHOUT.get(cause, ())]


def opens(result):
    """Whether the login went on."""
    return result in ("SUCCESS", "IGNORE", PASSED_BY)


def write_cells(policy, found):
    """Keeps what was found of a policy in place of what was there."""
    kept = {**cells(), policy: found}
    text = "# What comes of each login: PAM's result, then all that the person reads. See tests/test_matrix.py.\n"
    for name in policies():
        for cause, services in kept.get(name, {}).items():
            text += f"\n[{name}.{json.dumps(cause)}]\n"
            text += "".join(f"{json.dumps(service)} = {json.dumps(cell)}\n" for service, cell in services.items())
    (HERE / "cells.toml").write_text(text)


def with_tables(document):
    """The document, with its tables made anew."""
    made = f"{BEGIN}\n\n{tables()}\n{END}"
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: made, document, flags=re.DOTALL)


def tables():
    return "\n".join(_table(name, policy) for name, policy in policies().items())


def _table(name, policy):
    found = cells().get(name, {})
    text = f"#### {policy['title']}\n\n```toml\n{policy['text'].strip()}\n```\n\n"
    if "module" in policy:
        text += f"and `pam_countersign.so {policy['module']}` in `/etc/pam.d/`.\n\n"
    text += "| what happens | where | PAM's result | what the person reads |\n|---|---|---|---|\n"
    for titles, rows in _alike(policy, found):
        first = "<br>".join(titles)
        for where, result, read in rows:
            text += f"| {first} | {where} | {result} | {read} |\n"
            first = ""
    return text


def _alike(policy, found):
    """The rows of each cause; those that follow one another and are the same stand once, with the titles of all."""
    alike = []
    for cause, services in found.items():
        rows = _rows(services, _all(policy, cause))
        if not (alike and alike[-1][1] == rows):
            alike.append(([], rows))
        alike[-1][0].append(CAUSES[cause].title)
    return alike


def _rows(services, everywhere):
    same = {}
    for service, cell in services.items():
        same.setdefault(tuple(_without_enter(cell)), []).append(service)
    return [
        (_where(names, everywhere), _result(cell[0]), "<br>".join(line.replace("|", "\\|") for line in cell[1:]) or "nothing")
        for cell, names in same.items()
    ]


def _all(policy, cause):
    return services_of({**policy, "only": {}}, cause)


def _where(names, everywhere):
    """The services: by what they have in common, where these are all of those that have it, or all but one."""
    kinds = {
        "everywhere": everywhere,
        "all that ask": [service for service in everywhere if SERVICES[service].asks],
        "all that cannot ask": [service for service in everywhere if not SERVICES[service].asks],
        "the session stage": [service for service in everywhere if SERVICES[service].stage == "session"],
    }
    for kind, services in kinds.items():
        missing = [service for service in services if service not in names]
        if len(names) > 1 and names == services:
            return kind
        if len(names) > 2 and len(missing) == 1 and set(names) < set(services):
            return f"{kind} but {missing[0]}"
    return "; ".join(names)


def _without_enter(cell):
    """sudo, which shows nothing but prompts, has the last line as one first, to be acknowledged."""
    if len(cell) > 2 and cell[-2] in (f"{cell[-1]} Press Enter:", f"{cell[-1]}. Press Enter:"):
        return [*cell[:-2], cell[-1]]
    return cell


def _result(result):
    return result if result in (GONE, PASSED_BY, NOT_REACHED) else f"`PAM_{result}`"


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
