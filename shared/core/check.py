"""One line of the list that tells whether a worker can serve; each part of the app brings its own."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    DEGRADED = "degraded"
    """The worker serves, and the operator should look."""
    FAILED = "failed"
    """The worker cannot serve."""


class Check(NamedTuple):
    """One line of the list.

    Args:
        name: what was checked.
        state: the result.
        detail: what was seen; any caller may read it, so it names no id, no address, no file and no thumbprint.
        means: the consequence for callers; "" where all is well.
        remedy: what the operator should do; "" where all is well.
    """

    name: str
    state: State
    detail: str
    means: str = ""
    remedy: str = ""
