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
    return [service for service in policy.get("services", SERVICES) if service not in WITHOUT.get(cause, ())]


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
    text += "| what happens | where | PAM's result | what the person reads |\n|---|---|---|---|\n"
    for cause, services in found.items():
        same = {}
        for service, cell in services.items():
            same.setdefault(tuple(cell), []).append(service)
        first = CAUSES[cause].title
        for cell, names in same.items():
            where = "everywhere" if len(same) == 1 and len(names) > 1 else ", ".join(names)
            read = "<br>".join(line.replace("|", "\\|") for line in cell[1:]) or "nothing"
            text += f"| {first} | {where} | {_result(cell[0])} | {read} |\n"
            first = ""
    return text


def _result(result):
    return result if result in (GONE, PASSED_BY, NOT_REACHED) else f"`PAM_{result}`"


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
