"""The end of a caller's time: it is told before it comes, and any caller may see how many there are, but not whose."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.core.check import State
from tests.callers.test_age import DAY, Desk, entry, tell

DATE = "%Y-%m-%dT%H:%M:%SZ"


def ending(desk: Desk, **days: float) -> str:
    """Write callers whose time ends so many days from now."""
    now = datetime.fromtimestamp(desk.clock().wall, UTC)
    return "".join(
        entry(name, f"the key of {name}", f"not_after = {now + timedelta(days=left):{DATE}}")
        for name, left in days.items()
    )


async def told(desk: Desk, days: float = 0) -> list[tuple[int, list[str]]]:
    """Let days pass, have the document checked, and return what was told of ends since the last time."""
    await desk.later(days * DAY)
    if (checked := desk.begin()) is not None:
        await checked
    events = [event for event in desk.told() if event["event"] == "caller_ends"]
    desk.lines.clear()
    return [(event["days"], event["callers"]) for event in events]


def test_an_end_is_told_three_times() -> None:
    """30, 7 and 1 days before, once each by a worker, however often it checks the document; never once it is over."""

    async def story(desk: Desk) -> None:
        desk.text = entry() + ending(desk, reports=31)
        assert await told(desk) == []
        assert await told(desk, 1.1) == [(30, ["reports"])]
        assert await told(desk, 0.1) == []
        assert await told(desk, 22.7) == []
        assert await told(desk, 0.2) == [(7, ["reports"])]
        assert await told(desk, 6) == [(1, ["reports"])]
        assert await told(desk, 0.5) == []
        assert await told(desk, 0.5) == []

    tell(story, "")


def test_one_event_tells_of_all() -> None:
    """The first end stands first; a worker that starts tells what is near."""

    async def story(desk: Desk) -> None:
        desk.text = ending(desk, exports=20, reports=0.5, imports=40, gone=-1)
        await desk.later(0)
        await desk.who("the key of imports")
        (event,) = [event for event in desk.told() if event["event"] == "caller_ends"]
        first = datetime.fromtimestamp(desk.clock().wall, UTC) + timedelta(days=0.5)
        assert event["first_end"] == f"{first:{DATE}}"
        assert (event["number"], event["days"], event["callers"]) == (2, 1, ["reports", "exports"])

    tell(story, "")


def test_no_more_than_ten_are_named() -> None:
    """A line of the log has a bound; the number tells of the others."""

    async def story(desk: Desk) -> None:
        desk.text = ending(desk, **{f"c{number:02}": 1 + number for number in range(12)})
        assert await told(desk) == [(1, [f"c{number:02}" for number in range(10)])]

    tell(story, "")


def test_another_end_is_told_again() -> None:
    """Of a caller whose time is moved the new end counts; what changes beside it is no reason to tell it again."""

    async def story(desk: Desk) -> None:
        desk.text = ending(desk, reports=20)
        assert await told(desk) == [(30, ["reports"])]
        desk.text += entry()
        assert await told(desk, 0.1) == []
        desk.text = entry() + ending(desk, reports=90)
        assert await told(desk, 0.1) == []
        assert await told(desk, 65) == [(30, ["reports"])]

    tell(story, "")


@pytest.mark.parametrize(("days", "number"), [(7.1, 0), (7, 1), (0.1, 1), (0, 0), (-0.1, 0)])
def test_readiness_shows_how_many_end_within_a_week(days: float, number: int) -> None:
    """Any caller may read it, so that it has no names; it is degraded, because nobody has acted on the first notice."""

    async def story(desk: Desk) -> None:
        desk.text = entry() + ending(desk, reports=days)
        await desk.who()
        check = await desk.callers.check()
        told = "last found good 0 s ago" + (f"; callers whose time ends within 7 days: {number}" if number else "")
        assert (check.state, check.detail) == (State.DEGRADED if number else State.OK, told)
        assert "./vend callers list" in check.remedy or not number

    tell(story, "")
