from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.rate import Bucket


def test_a_minute_s_requests_may_come_at_once() -> None:
    """Then one every sixtieth of a minute: what is told is exactly when the next may come."""
    bucket = Bucket(per_minute=60, now=1_000)
    assert [bucket.take(per_minute=60, now=1_000) for _ in range(60)] == [0.0] * 60
    assert bucket.take(per_minute=60, now=1_000) == 1.0
    assert bucket.take(per_minute=60, now=1_000.75) == 0.25
    assert bucket.take(per_minute=60, now=1_001) == 0.0
    assert bucket.take(per_minute=60, now=1_001) > 0


def test_an_idle_hour_saves_no_more_than_a_minute() -> None:
    """The bucket has a brim."""
    bucket = Bucket(per_minute=2, now=0)
    assert [bucket.take(per_minute=2, now=3_600) > 0 for _ in range(3)] == [False, False, True]


def test_a_lower_rate_is_in_force_at_once() -> None:
    """What was saved up under a higher one is not kept."""
    bucket = Bucket(per_minute=600, now=0)
    assert [bucket.take(per_minute=1, now=0) for _ in range(2)] == [0.0, 60.0]


# Sparse ones, and those that follow each other so closely that nearly all are refused.
MOMENTS = st.lists(st.floats(0, 300), min_size=1, max_size=200).map(sorted) | st.builds(
    lambda gap, count: [gap * number for number in range(count)],
    st.sampled_from([0.001, 0.1, 0.5, 1.0, 7.0]),
    st.integers(1, 300),
)


@given(rate=st.integers(1, 1_000), moments=MOMENTS)
@example(rate=1, moments=[number / 2 for number in range(240)])
def test_no_minute_has_more_than_two_minutes_requests(rate: int, moments: list[float]) -> None:
    """FND-H4: however the requests come, at most what was saved, and what a minute fills."""
    bucket = Bucket(per_minute=rate, now=0)
    taken = [moment for moment in moments if bucket.take(per_minute=rate, now=moment) == 0]
    for start in taken:
        assert sum(start <= moment < start + 60 for moment in taken) <= 2 * rate


@pytest.mark.parametrize("rate", [1, 7, 600])
def test_who_waits_as_told_is_served(rate: int) -> None:
    """A caller that honours Retry-After never hears 429 twice in a row."""
    bucket, now = Bucket(per_minute=rate, now=0), 0.0
    waits = []
    for _ in range(3 * rate):
        wait = bucket.take(per_minute=rate, now=now)
        waits.append(wait)
        now += wait + 1e-6 if wait else 0.0
    assert not any(first and second for first, second in pairwise(waits))
