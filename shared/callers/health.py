"""The state of a worker's callers document, in figures that any caller may read."""

from typing import NamedTuple

from shared.callers.endings import LATE_DAYS
from shared.core.check import Check, State


class DocumentHealth(NamedTuple):
    """How far the document in force can be relied on.

    Args:
        age: seconds since a check found it good; None where none is in force.
        is_failing: whether the last check failed.
        refused: number of its callers that are refused or lack a grant.
        ending: number of its callers whose time is over within `LATE_DAYS`.
    """

    age: float | None
    is_failing: bool
    refused: int = 0
    ending: int = 0


class DocumentFacts(NamedTuple):
    """Which document a worker goes by; no names in it, because any caller may read it.

    Args:
        in_force: digest of the document in force.
        newest: digest of the newest document that was read, in force or refused.
        refused: number of callers in the document in force that are refused or lack a grant.
        generation: of the document in force; it outlives a document that grew too old.
    """

    in_force: str | None = None
    newest: str | None = None
    refused: int = 0
    generation: int | None = None


def check_document(health: DocumentHealth) -> Check:
    """Return the line of a document of this health."""
    if health.age is None:
        return Check(
            "callers",
            State.FAILED,
            "there is no valid callers document",
            "every answer is 503",
            "the events callers_invalid and callers_unread say why; ./vend check names each mistake",
        )
    detail = f"last found good {health.age:.0f} s ago"
    if health.is_failing:
        return Check(
            "callers",
            State.DEGRADED,
            f"{detail}, and the last look failed",
            "that document stays in force for a day: who was added or revoked since then is not",
            "the events callers_invalid and callers_unread say what is wrong",
        )
    if health.refused:
        return Check(
            "callers",
            State.DEGRADED,
            f"{detail}; callers that are refused or lack a grant: {health.refused}",
            "mistakes of the document cost these callers, and nobody else",
            "the event callers_refused names each mistake; so does GET /api/doctor",
        )
    if health.ending:
        return Check(
            "callers",
            State.DEGRADED,
            f"{detail}; callers whose time ends within {LATE_DAYS} days: {health.ending}",
            "from its end on such a caller gets 401",
            "./vend callers list names them: move the end by ./vend callers set NAME --not-after, or revoke the caller",
        )
    return Check("callers", State.OK, detail)
