"""The cases of tests/data/abuse.toml, which describes their fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tests.tables import cases
from tests.wire import WAYS, Change, Way

type Kind = Literal["denied", "stranger", "silent"]
KINDS: Mapping[Kind, tuple[int, str, Change]] = {
    "denied": (400, "invalid_scope", Change(fields={"scope": "api://nobody/.default"})),
    "stranger": (401, "invalid_client", Change(key="default")),
    "silent": (401, "invalid_client", Change(without=("credentials",))),
}
"""Status, error and an example of those whom nobody can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput(Change):
    """A request, and its answer."""

    id: str
    routes: tuple[Way, ...] = WAYS
    each: tuple[str, ...] = ("",)
    at_the_host: bool = False
    status: int = 200
    error: str | None = None
    hint: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    kind: Kind | None = None
    entra: int = 0
    sends: str | None = None
    reason: str | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A row that the platform answers before the app."""

    id: str
    why: str


# Cases of one id differ in their routes.
BAD_INPUT = cases("abuse.toml", BadInput, beside=["platform"], unique=lambda case: (case.id, case.routes))
UNSEEN = cases("abuse.toml", Unseen, "platform", beside=["case"])


def proofs(*, at_the_host: bool) -> list[Any]:
    """List the cases for one door, once for every route."""
    return [
        pytest.param(case, way, id=f"{case.id}, {way}")
        for case in BAD_INPUT
        if case.at_the_host is at_the_host
        for way in case.routes
    ]
