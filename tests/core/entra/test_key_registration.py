"""When a version is registered: the brake that needs no memory."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.entra.key_registration import HOUR, is_due, seconds_to_next_try

AGES = [1, 2, 4, 8, 16, 32, 64, 128, 264, 528, 792, 1_056, 1_320, 1_584]
YEAR = 365 * 24


def made(moment: float) -> datetime:
    """Return the time at which a version was made."""
    return datetime.fromtimestamp(moment, UTC)


@pytest.mark.slow
@given(
    created=st.integers(1_800_000_000, 1_800_000_000 + 24 * HOUR),
    late=st.lists(st.floats(-29 * 60, 29 * 60), min_size=24, max_size=24),
)
def test_runs_half_past_the_hour_try_at_doubling_ages_and_then_each_eleventh_day(
    created: int, late: list[float]
) -> None:
    """However early or late a run begins: each age has one try, and a year 15 at the most."""
    first = created // HOUR * HOUR + HOUR // 2
    runs = [first + hour * HOUR + late[hour % len(late)] for hour in range(YEAR + 1)]
    tried = [hour for hour, moment in enumerate(runs) if moment >= created and is_due(made(created), moment)]
    assert tried in ([0, *AGES], AGES)


def test_the_next_try_is_when_it_is_said_to_be() -> None:
    """The wait in the event of a refusal leads to the next run that is due, for each try of a year."""
    created = 1_800_000_000 // HOUR * HOUR
    due = [now for now in range(created, created + YEAR * HOUR, HOUR) if is_due(made(created), now)]
    said = [seconds_to_next_try(made(created), now) for now in due]
    assert said == [*(later - now for now, later in pairwise(due)), None]


def test_a_version_of_the_future_is_tried_at_once() -> None:
    """The clocks of the vault and of this machine differ a little."""
    assert is_due(made(1_800_000_000 + 2 * HOUR), 1_800_000_000)
