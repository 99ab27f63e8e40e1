"""Tables of cases under tests/data/: each case has an id, and one driver runs them all."""

import tomllib
from operator import itemgetter
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"

type Case = dict[str, Any]

case_id = itemgetter("id")


def cases(file: str, table: str = "case") -> list[Case]:
    """Read one table of a file."""
    found: list[Case] = tomllib.loads((DATA / file).read_text())[table]
    return found
