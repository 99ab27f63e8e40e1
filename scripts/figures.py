"""The tables of docs/comparison.md, from what `make bench` has measured last."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.rows import AZURE, AZURE_AIO, MSAL, Row, number
from scripts.page_tables import table

_LIBRARIES = {MSAL: "MSAL for Python", AZURE: "azure-identity", AZURE_AIO: "azure-identity, aio"}
_BESIDE_LIBRARIES = (
    "outage",
    "outage-20",
    "valid-token-faults",
    "valid-token-faults-wait",
    "valid-token-faults-requests",
    "refresh-window",
    "refresh-window-requests",
    "stampede",
    "stampede-wait",
    "hit",
    "hit-many",
    "uncached",
    "first-token",
)
_ENDPOINT = ("end-to-end", "end-to-end-msal")


def figures() -> Mapping[str, str]:
    """Make both tables; the best figure of a row is bold."""
    rows = {row.id: row for row in report.read(Path(report.__file__).parent)}
    return {
        "beside the libraries": table(
            "measured", "unit", "vend", *_LIBRARIES.values(), rows=(_beside(rows[each]) for each in _BESIDE_LIBRARIES)
        ),
        "beside an endpoint of your own": table(
            "measured", "unit", "vend", "beside it", rows=(_endpoint(rows[each]) for each in _ENDPOINT)
        ),
    }


def _beside(row: Row) -> tuple[str, ...]:
    cells = {"vend": row.ours} | {name: row.others[name] for name in _LIBRARIES if name in row.others}
    best = (min if row.goal.less_is_better else max)(cells.values())
    shown = {name: f"**{number(figure)}**" if figure == best else number(figure) for name, figure in cells.items()}
    return row.what, row.unit, shown["vend"], *(shown.get(name, "-") for name in _LIBRARIES)


def _endpoint(row: Row) -> tuple[str, ...]:
    others = ", ".join(f"{name} {number(figure)}" for name, figure in row.others.items())
    return row.what, row.unit, number(row.ours), others
