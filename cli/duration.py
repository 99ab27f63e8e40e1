"""`--for`: how long something lasts."""

import re
from datetime import timedelta
from typing import Annotated

import typer

UNITS = {"s": 1, "m": 60, "h": 3600}
LONGEST = timedelta(days=1)

Lasts = Annotated[
    str, typer.Option("--for", metavar="TIME", help="Such as 30s, 5m or 1h; without it, until it is ended.")
]


def duration(text: str) -> timedelta | None:
    """Read it; None where none is given. A malformed one ends the command with exit code 2."""
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    lasts = timedelta(seconds=int(found[1]) * UNITS[found[2]]) if found else timedelta(0)
    if not timedelta(0) < lasts <= LONGEST:
        raise typer.BadParameter("must be a time such as 30s, 5m or 1h, at most 24h", param_hint="--for")
    return lasts
