"""What the local Functions host does with timers, in a time that passes only when told to."""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.host.app import Host
from emulator.host.timer import Schedule

APP = Path(__file__).parent / "timer_app"
NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
SOME_TURNS = 30  # of the event loop: more than a run takes that waits for nothing


class FakeTime:
    """Stands still until a test lets it pass, and then wakes who sleeps, each at their moment."""

    def __init__(self) -> None:
        self.now = NOON
        self._sleepers: list[tuple[dt.datetime, asyncio.Future[None]]] = []

    def __call__(self) -> dt.datetime:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time was let pass."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + dt.timedelta(seconds=seconds), woken))
        await woken

    async def let_pass(self, **duration: float) -> None:
        """Let time pass; everything that is due meanwhile runs until it waits."""
        end = self.now + dt.timedelta(**duration)
        await settle()
        while due := sorted(moment for moment, _ in self._sleepers if moment <= end):
            self.now = due[0]
            for _, woken in [sleeper for sleeper in self._sleepers if sleeper[0] == self.now]:
                if not woken.cancelled():
                    woken.set_result(None)
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.now]
            await settle()
        self.now = end


async def settle() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(SOME_TURNS):
        await asyncio.sleep(0)


class Site:
    """A host that can be started again, with its log."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys.json"
        self.status_file = folder / "keys.timers.json"
        self.time = FakeTime()
        self.lines: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        """Load the app, and let it go again."""
        with await Host.load(APP, keys=self.keys, now=self.time, log=self.lines.append, sleep=self.time.sleep) as host:
            await settle()
            yield host
        await settle()

    def runs(self, name: str) -> list[dict[str, Any]]:
        """What a function was given each time."""
        given = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [one for one in given if one["name"] == name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose one setting is there."""
    monkeypatch.setenv("HOURLY", "0 0 * * * *")
    monkeypatch.delenv("NOWHERE", raising=False)
    return Site(tmp_path)


def story(told: Callable[[Site], Coroutine[Any, Any, None]]) -> Callable[[Site], None]:
    """Run an async test on a loop of its own."""

    def test(site: Site) -> None:
        asyncio.run(told(site))

    test.__doc__ = told.__doc__
    return test


@story
async def test_a_timer_runs_when_its_schedule_says(site: Site) -> None:
    """Each occurrence is one run, which is told the schedule's status as Azure tells it; none after the end."""
    async with site.running():
        await site.time.let_pass(minutes=119)
        assert len(site.runs("hourly")) == 1
        await site.time.let_pass(minutes=1)
    await site.time.let_pass(hours=2)

    assert json.loads(site.status_file.read_text())["hourly"]["Last"] == "2030-01-01T14:00:00+00:00"
    assert site.runs("hourly")[1] == {
        "name": "hourly",
        "past_due": False,
        "schedule": {"AdjustForDST": True},
        "status": {
            "Last": "2030-01-01T13:00:00+00:00",
            "Next": "2030-01-01T14:00:00+00:00",
            "LastUpdated": "2030-01-01T13:00:00+00:00",
        },
    }
    assert site.runs("hourly")[0]["status"]["Last"] == "0001-01-01T00:00:00"


@story
async def test_a_timer_that_is_not_monitored_has_no_status(site: Site) -> None:
    """One that is due more than once in a minute is not, whatever its binding says; nothing is kept of it."""
    async with site.running():
        await site.time.let_pass(minutes=1)
    assert [run["status"] for run in site.runs("dense")] == [{}, {}, {}]
    assert json.loads(site.status_file.read_text()).keys() == {"hourly"}


@pytest.mark.slow
@story
async def test_a_timer_runs_at_start_only_if_it_is_to(site: Site) -> None:
    """`run_on_startup` is one run more, and not a late one."""
    async with site.running():
        assert [run["past_due"] for run in site.runs("eager")] == [False]
        assert site.runs("hourly") == []
        await site.time.let_pass(hours=17)
        assert len(site.runs("eager")) == 2


@story
async def test_a_timer_never_runs_beside_itself(site: Site) -> None:
    """What came due during a run is made up for by one run at its end, and the schedule goes on."""
    async with site.running():
        await site.time.let_pass(minutes=35)
        assert len(site.runs("slow")) == 1
        sys.modules["function_app"].door.set()
        await settle()
        assert len(site.runs("slow")) == 2
        await site.time.let_pass(minutes=5)
        assert len(site.runs("slow")) == 3


@story
async def test_a_missed_run_is_made_up_for_at_the_next_start(site: Site) -> None:
    """One run for however many were missed, told that it is late; a start right after it has nothing to make up for."""
    async with site.running():
        await site.time.let_pass(minutes=90)
    site.time.now += dt.timedelta(hours=5)
    async with site.running():
        assert [run["past_due"] for run in site.runs("hourly")] == [False, True]
        assert site.runs("hourly")[1]["status"]["Next"] == "2030-01-01T14:00:00+00:00"
    async with site.running():
        await site.time.let_pass(minutes=30)
        assert [run["past_due"] for run in site.runs("hourly")] == [False, True, False]


@story
async def test_another_schedule_has_missed_nothing(site: Site) -> None:
    """Where the schedule was changed meanwhile, the kept status says nothing about it."""
    async with site.running():
        pass
    site.time.now += dt.timedelta(hours=5)
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("HOURLY", "0 30 * * * *")
        async with site.running():
            assert site.runs("hourly") == []
            await site.time.let_pass(minutes=30)
            assert [run["past_due"] for run in site.runs("hourly")] == [False]


@story
async def test_a_failure_does_not_end_the_schedule(site: Site) -> None:
    """The log has the reason, and the timer runs again when it is due."""
    async with site.running():
        await site.time.let_pass(hours=2)
    assert len(site.runs("fails")) == 2
    failures = [line for line in site.lines if "Executed 'Functions.fails' (Failed" in line]
    assert ["not this time" in line for line in failures] == [True, True]


@story
async def test_a_bad_schedule_takes_its_function_out_and_no_other(site: Site) -> None:
    """The log says which function is in error and why."""
    async with site.running() as host:
        assert [line for line in site.lines if "in error" in line] == [
            "The 'lost' function is in error: '%NOWHERE%' does not resolve to a value",
            "The 'vague' function is in error: 'often' is not an NCRONTAB expression of six fields that is ever due",
        ]
        assert await ask(site, host, "lost") == 404
        await site.time.let_pass(hours=1)
    assert len(site.runs("hourly")) == 1


@story
async def test_a_timer_can_be_run_by_hand(site: Site) -> None:
    """The master key and a JSON body start it at once, even beside a run of its own; nobody waits for it."""
    async with site.running() as host:
        assert [await ask(site, host, "hourly"), await ask(site, host, "SLOW"), await ask(site, host, "slow")] == [
            202
        ] * 3
        await settle()
        assert [len(site.runs(name)) for name in ("hourly", "slow")] == [1, 2]
        assert (site.runs("hourly")[0]["past_due"], "Next" in site.runs("hourly")[0]["status"]) == (False, True)

        assert await ask(site, host, "hourly", key="functionKeys") == 403
        assert await ask(site, host, "hourly", body=b"") == 400
        assert await ask(site, host, "hourly", body=b'""') == 400
        assert await ask(site, host, "plain") == 404
        assert await ask(site, host, "nobody") == 404
        await settle()
        assert len(site.runs("hourly")) == 1


async def ask(site: Site, host: Host, name: str, *, key: str = "master", body: bytes = b'{"input": ""}') -> int:
    """Ask the host to run a function; tell the status."""
    keys = json.loads(site.keys.read_text())
    headers = {"x-functions-key": keys["master"] if key == "master" else keys[key]["default"]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=host), base_url="http://localhost") as client:
        return (await client.post(f"/admin/functions/{name}", content=body, headers=headers)).status_code


@story
async def test_a_status_file_that_is_something_else_stops_the_host(site: Site) -> None:
    """It is named, and not written over."""
    for content in ("[]", "not json", '{"hourly": {"Last": "x"}}'):
        site.status_file.write_text(content)
        with pytest.raises(ValueError, match=r"keys\.timers\.json"):
            async with site.running():
                pass
        assert site.status_file.read_text() == content


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * * *", "2030-01-01T13:00:00"),
        ("*/15 * * * * *", "2030-01-01T12:00:15"),
        ("5,10 0 12 * * *", "2030-01-01T12:00:05"),
        ("0 30 9-17/4 * * Mon-Fri", "2030-01-01T13:30:00"),
        ("0 0 0 * Feb 1", "2030-02-04T00:00:00"),
        ("0 0 0 * * 0", "2030-01-06T00:00:00"),
        ("0 0 0 13 * FRI", "2030-09-13T00:00:00"),
        ("0 0 0 29 2 *", "2032-02-29T00:00:00"),
    ],
)
def test_a_schedule_is_read_as_ncrontab(expression: str, expected: str) -> None:
    """Seconds come first, Sunday is 0, and where both day fields are given both must fit."""
    assert Schedule(expression).after(NOON) == dt.datetime.fromisoformat(expected).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "expression",
    ["", "0 0 * * *", "0 0 * * * * *", "@hourly", "0 0 0 L * *", "0 0 0 ? * *", "R 0 * * * *", "0 0 0 * * 1#1",
     "60 * * * * *", "0 0 0 31 2 *", "0 0 0 * Foo *", "0 0 0 * * 7"],
)  # fmt: skip
def test_what_is_not_ncrontab_is_refused(expression: str) -> None:
    """What the library would take and Azure would not, too."""
    with pytest.raises(ValueError, match="NCRONTAB expression of six fields"):
        Schedule(expression)
