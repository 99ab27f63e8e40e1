"""Timer triggers as the Functions host runs them: six fields, in UTC, never beside a run of the same timer.

A monitored timer that missed runs while the host was away runs once at start, with `IsPastDue`.
Source: TimerListener, ScheduleMonitor and CronSchedule of https://github.com/Azure/azure-webjobs-sdk-extensions
"""

import asyncio
import datetime as dt
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from croniter import croniter

from emulator.host.files import replace_json

SETTING = re.compile("%([^%]+)%")


def _field(value: str) -> str:
    """Return a pattern for a list of values, ranges and steps: NCRONTAB has no more, croniter has."""
    one = rf"(?:\*|{value}(?:-{value})?)(?:/\d+)?"
    return f"{one}(?:,{one})*"


NUMBER_OR_NAME = r"(?:\d+|[A-Za-z]{3})"
WEEKDAY = "(?:[0-6]|[A-Za-z]{3})"
EXPRESSION = re.compile(f"(?:{_field(NUMBER_OR_NAME)} +){{5}}{_field(WEEKDAY)}")
MINUTE = dt.timedelta(minutes=1)
LONGEST_SLEEP = 60.0  # seconds: a machine that was suspended notices within this time
NEVER = "0001-01-01T00:00:00"  # the first moment of .NET, which the real host writes for none


class Schedule:
    """One NCRONTAB expression.

    Raises:
        ValueError: the text is no such expression, or is never due.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression.strip()
        mistake = ValueError(f"{expression!r} is not an NCRONTAB expression of six fields that is ever due")
        if not EXPRESSION.fullmatch(self._expression):
            raise mistake
        try:
            self.after(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        except ValueError:
            raise mistake from None

    def after(self, moment: dt.datetime) -> dt.datetime:
        """Return the first occurrence after a moment."""
        occurrences = croniter(self._expression, moment, second_at_beginning=True, day_or=False)
        found: dt.datetime = occurrences.get_next(dt.datetime)
        return found

    def is_dense(self, now: dt.datetime) -> bool:
        """Return whether it is due more than once in the next minute: such schedules are not monitored."""
        return self.after(self.after(now)) <= now + MINUTE


@dataclass(frozen=True)
class Timer:
    """One timer function; a monitored one makes up for runs that were missed while the host was away."""

    name: str
    schedule: Schedule
    monitored: bool = True
    runs_on_startup: bool = False

    @classmethod
    def of(cls, name: str, binding: Mapping[str, Any], settings: Mapping[str, str], *, now: dt.datetime) -> Self:
        """Read the binding of a function.

        Raises:
            ValueError: its schedule is invalid, or names a setting that does not exist.
        """
        schedule = Schedule(SETTING.sub(lambda found: _setting(found[1], settings), binding["schedule"]))
        monitored = binding.get("useMonitor") is not False and not schedule.is_dense(now)
        return cls(name, schedule, monitored=monitored, runs_on_startup=binding.get("runOnStartup") is True)


@dataclass(frozen=True)
class Status:
    """When a timer ran last, when it is due next, and from which moment that was computed."""

    last: dt.datetime | None
    next: dt.datetime
    updated: dt.datetime

    def to_json(self) -> dict[str, str]:
        """Return it as the real host stores it and passes it to the function."""
        last = self.last.isoformat() if self.last else NEVER
        return {"Last": last, "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}

    @classmethod
    def of(cls, kept: Mapping[str, str]) -> Self:
        """Read the form of `to_json`; any other raises one of Python's own errors."""
        last = None if kept["Last"] == NEVER else dt.datetime.fromisoformat(kept["Last"])
        return cls(last, dt.datetime.fromisoformat(kept["Next"]), dt.datetime.fromisoformat(kept["LastUpdated"]))


class StatusFile:
    """The status of every monitored timer, in one JSON file; the real host has a blob for each.

    Raises:
        ValueError: the file has other content.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            kept = json.loads(path.read_text()) if path.exists() else {}
            self._kept = {name: Status.of(status) for name, status in kept.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{path} is not a file of timers") from None

    def read(self, timer: Timer) -> Status | None:
        """Return the stored status of a timer."""
        return self._kept.get(timer.name) if timer.monitored else None

    def write(self, timer: Timer, status: Status) -> None:
        """Store a status, if the timer is monitored."""
        if not timer.monitored:
            return
        self._kept[timer.name] = status
        replace_json(self._path, {name: kept.to_json() for name, kept in self._kept.items()})


class Timers:
    """Runs timers from `start` to `stop`.

    Args:
        file: stores their status.
        now: the clock.
        sleep: waits so many seconds by that clock, or less.
        run: invokes a function with the JSON of its trigger and logs its failures.
    """

    def __init__(
        self,
        file: StatusFile,
        *,
        now: Callable[[], dt.datetime],
        sleep: Callable[[float], Awaitable[None]],
        run: Callable[[str, str], Coroutine[Any, Any, None]],
    ) -> None:
        self._file = file
        self._now = now
        self._sleep = sleep
        self._run = run
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, timers: Iterable[Timer]) -> None:
        """Start the timers on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._timers = {timer.name: timer for timer in timers}
        for timer in self._timers.values():
            status = self._first(timer)
            overdue = self._now() > status.next
            self._spawn(self._keep(timer, status, overdue=overdue))

    def stop(self) -> None:
        """Stop from any thread; a running function is cancelled."""
        if not self._loop.is_closed():
            for task in tuple(self._tasks):
                self._loop.call_soon_threadsafe(task.cancel)

    def run_now(self, name: str) -> bool:
        """Run a timer now, even beside its own run, as the real host does; return whether there is such a timer."""
        timer = self._timers.get(name)
        if timer is None:
            return False
        self._spawn(self._run(name, _trigger(self._file.read(timer))))
        return True

    def _first(self, timer: Timer) -> Status:
        """Return the stored status; one of another schedule does not show which runs were missed."""
        kept = self._file.read(timer)
        if kept and kept.next == timer.schedule.after(kept.updated):
            return kept
        now = self._now()
        status = Status(kept.last if kept else None, timer.schedule.after(now), now)
        self._file.write(timer, status)
        return status

    async def _keep(self, timer: Timer, status: Status, *, overdue: bool) -> None:
        if overdue or timer.runs_on_startup:
            status = await self._fire(timer, status, started=self._now(), past_due=overdue)
        while True:
            while (left := (status.next - self._now()).total_seconds()) > 0:
                await self._sleep(min(left, LONGEST_SLEEP))
            # One run makes up for all that became due while it ran.
            status = await self._fire(timer, status, started=self._now(), past_due=False)

    async def _fire(self, timer: Timer, status: Status, *, started: dt.datetime, past_due: bool) -> Status:
        await self._run(timer.name, _trigger(status if timer.monitored else None, past_due=past_due))
        ran = Status(started, timer.schedule.after(started), started)
        self._file.write(timer, ran)
        return ran

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _trigger(status: Status | None, *, past_due: bool = False) -> str:
    """Return the JSON for the worker: `Schedule` has this one member, `ScheduleStatus` is null without a monitor."""
    return json.dumps(
        {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.to_json() if status else None,
            "IsPastDue": past_due,
        }
    )


def _setting(name: str, settings: Mapping[str, str]) -> str:
    if name not in settings:
        raise ValueError(f"'%{name}%' does not resolve to a value")
    return settings[name]
