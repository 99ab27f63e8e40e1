"""The text of the callers document, before and after."""

from dataclasses import dataclass
from typing import Literal, assert_never

import pytest

from cli.callers_text import (
    CannotEdit,
    with_allowed,
    with_caller,
    with_generation,
    with_keys,
    with_values,
    without_caller,
    without_scopes,
)
from shared.core.policy import Allow
from tests.tables import case_id, cases

ALLOW = [Allow(profile="graph", scopes=("api://a/.default", "api://b/.default"), tenants=("ONE",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An edit; tests/data/callers_text.toml describes the fields."""

    id: str
    edit: Literal["add", "revoke", "roll", "finish", "allow", "deny", "set", "purge"]
    name: str = "billing"
    before: str
    after: str | None = None
    refused: str | None = None


def edited(case: Case) -> str:
    """Make the edit of a case."""
    text, name = case.before, case.name
    match case.edit:
        case "add":
            return with_caller(text, name, digest="new", allow=ALLOW)
        case "revoke":
            return without_caller(text, name)
        case "roll":
            return with_keys(text, name, ["old", "new"], over=["old"])
        case "finish":
            return with_keys(text, name, ["new"], over=["old", "new"])
        case "allow":
            return with_allowed(text, name, [Allow(profile="graph", scopes=("api://n/.default",))])
        case "deny":
            return without_scopes(text, name, {"api://a/.default"})
        case "set":
            return with_values(text, name, {"per_worker_per_minute": 5, "mode": "audit", "not_after": None})
        case "purge":
            return with_generation(text, 9)
        case _:
            assert_never(case.edit)


@pytest.mark.parametrize("case", cases("callers_text.toml", Case), ids=case_id)
def test_an_edit_changes_what_it_is_to_change_and_nothing_else(case: Case) -> None:
    """Comments, order and spacing stay; what cannot be edited so is refused, and never spoiled."""
    if case.after is None:
        with pytest.raises(CannotEdit) as refusal:
            edited(case)
        assert str(refusal.value) == case.refused
        return
    assert edited(case).lstrip("\n") == case.after.lstrip("\n")
