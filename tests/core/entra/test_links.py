"""The order in which a flight asks with the links of a chain."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.entra.links import in_order
from tests.tables import case_id, cases

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One chain; tests/data/links.toml describes the fields."""

    id: str
    credentials: list[list[str]]
    accepted: str | None = None
    resting: list[str] | None = None
    is_trial: bool = False
    order: list[str]


@dataclass(frozen=True, slots=True)
class Link:
    """A version that was made so many hours ago, or a link without versions."""

    id: str

    @property
    def created(self) -> datetime | None:
        """Its id says how old it is: `new@24`."""
        _, _, age = self.id.partition("@")
        return NOW - float(age) * HOUR if age else None


@pytest.mark.parametrize("case", cases("links.toml", Case), ids=case_id)
def test_links_are_asked_with_in_their_order(case: Case) -> None:
    """REL-28: what is known to be accepted, what is likely to be, and the rest; resting links come last."""
    found = in_order(
        [[Link(each) for each in credential] for credential in case.credentials],
        accepted=case.accepted,
        is_resting=(case.resting or []).__contains__,
        now=NOW,
        is_trial=case.is_trial,
    )
    assert [link.id for link in found] == case.order
