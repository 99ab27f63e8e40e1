from datetime import timedelta

import pytest

from shared.core.retry import retry_after
from shared.core.token import Moment

ASKED = Moment(wall=1_800_000_000, boot=1_000)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 1),
        ("999999999999", 86_400),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("Fri, 22 Jan 2027 10:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float) -> None:
    """REL-05, RFC 9110 section 10.2.3: seconds or a date, from one second to one day."""
    assert retry_after({"retry-after": value}, now=ASKED.wall) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, "", "abc", "-5", "1.5", "Fri, 99 Jan 2027 08:01:00 GMT"])
def test_a_retry_after_without_meaning_is_ignored(value: str | None) -> None:
    """REL-05: nonsense is as good as no header."""
    headers = {} if value is None else {"retry-after": value}
    assert retry_after(headers, now=ASKED.wall) is None
