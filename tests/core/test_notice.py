import pytest

from shared.core.notice import notice_days

DAY = 86_400.0


@pytest.mark.parametrize(
    ("left", "told", "days"),
    [
        (31, None, None),
        (30.001, None, None),
        (30, None, 30),
        (30, 30, None),
        (7.001, 30, None),
        (7, 30, 7),
        (7, 7, None),
        (7, 1, None),
        (1, 7, 1),
        (1, None, 1),
        (1, 1, None),
        (0.001, 7, 1),
        (0, None, None),
        (-1, None, None),
    ],
)
def test_an_end_is_told_three_times(left: float, told: int | None, days: int | None) -> None:
    """30, 7 and 1 days before, once each; what has ended is not told."""
    assert notice_days(ends_at=1_000 * DAY + left * DAY, told_days=told, now=1_000 * DAY) == days
