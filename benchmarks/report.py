"""The results as files: `results.json` for programs, `results.md` and `results.svg` for people."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.plot import svg
from benchmarks.rows import Goal, Row, number

LIBRARIES = ("msal", "azure-identity", "aiohttp", "httpcore", "PyJWT", "cryptography", "azure-functions-runtime")

INTRO = """\
# vend beside what its users would otherwise pick

`make bench` wrote this; `make bench ONLY=stampede` measures one subject again. All figures are per worker process and
from one machine: compare them with each other, within a row, and with nothing else. In a row everything was measured
by turns in the same run; figures are medians of at least five rounds, but for `outage`, which runs on a clock that
stands still and comes out the same each time. *ratio* is vend's figure divided by the bold one.
"""
NOTES = """\
The Entra in these runs is the local one of `emulator/`, over TLS, in a process of its own. For `uncached` it would be
the bottleneck itself, and for `hit` it would take minutes to fill the caches: there `benchmarks/bare_entra.py` gives
prepared answers. `outage` and `handler` need none. The libraries prove themselves with a client secret, their cheapest
way; vend signs an assertion, every nine minutes.

`strangers` is compared with the 401 of a wrong key: what any key costs that is read and looked for, whatever the body.
Beside the 401 of a request without a key, for which nothing is looked for, it is three times as dear. Its bound in time
(`strangers-cpu`) is the one that protects callers. `documents` and its kin compare CPU; off the loop a document is read
in a thread of its own.

The loops beside `directory-speed` read the same pages of users into SQLite. None stores a link, a membership or what
changed when: the one in the shape of roadrecon inserts a thousand rows by one statement, into an empty table alone.
`make bench ONLY=directory USERS=1000000` measures the larger copy at the size of its goal.
"""


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write all three files.

    Args:
        rows: all of them, in the order in which they are to be read.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps([_record(row) for row in rows], indent=2) + "\n")
    (folder / "results.md").write_text("\n".join([INTRO, table(rows), "", NOTES, facts(), ""]))
    (folder / "results.svg").write_text(svg(rows))


def read(folder: Path) -> list[Row]:
    """Read back what was written; nothing where nothing was."""
    file = folder / "results.json"
    return [_row(record) for record in json.loads(file.read_text())] if file.exists() else []


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out for people."""
    lines = ["| what | unit | vend | beside it | goal | ratio | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        others = ", ".join(
            f"**{name} {number(figure)}**" if name == row.against else f"{name} {number(figure)}"
            for name, figure in row.others.items()
        )
        ratio = "" if row.ratio is None else number(row.ratio)
        verdict = "yes" if row.met else "**no**"
        cells = (f"{row.what} (`{row.id}`)", row.unit, number(row.ours), others, str(row.goal), ratio, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def facts() -> str:
    """Say what this ran on, and nothing that tells whose machine it is."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"Measured with {os.cpu_count()} cores ({platform.machine()}, {platform.system()}), "
        f"Python {platform.python_version()}; {libraries}."
    )


def _record(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "ours": row.ours,
        "baseline": row.baseline,
        "unit": row.unit,
        "ratio": row.ratio,
        "goal": str(row.goal),
        "met": row.met,
        "what": row.what,
        "against": row.against,
        "others": dict(row.others),
    }


def _row(record: dict[str, Any]) -> Row:
    of, sign, bound = record["goal"].split()
    return Row(
        id=record["id"],
        what=record["what"],
        unit=record["unit"],
        ours=record["ours"],
        others=record["others"],
        against=record["against"],
        goal=Goal(of, sign, float(bound)),
    )
