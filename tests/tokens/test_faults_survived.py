import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud import LocalCloud
from emulator.entra.app import HONEST, Forgery
from emulator.network.faults import Fault, Kind, parse
from tests.clock import FakeClock
from tests.in_process import ORDERS_SCOPE, App, Told, suffering
from tests.tables import Case, case_id, cases

pytestmark = pytest.mark.slow

# Seconds after which an hour's token is due for its refresh, or has three minutes left, or is no longer served.
AGES = {"warm": 1_700, "ending": 3_419}
# Faults of requests that Entra never sees, or sees when their client is gone: they are counted where they happen.
UNREACHED = {Kind.TLS, Kind.BLACK_HOLE, Kind.DELAY, Kind.STATUS, Kind.GARBAGE, Kind.ENDLESS}
# Longer than any wait that is the failure memory's own first one.
AFTER_A_FIRST_WAIT = 6


@contextmanager
def trouble(cloud: LocalCloud, clock: FakeClock, case: Case) -> Iterator[None]:
    """Make happen what a case says."""
    if "forged" in case:
        cloud.entra.forgery = Forgery(**{part: json.loads(lies) for part, lies in case["forged"].items()})
        try:
            yield
        finally:
            cloud.entra.forgery = HONEST
    elif "fault" in case:
        with suffering(cloud.faults["entra"], fault_of(case, clock)):
            yield
    else:
        yield


def fault_of(case: Case, clock: FakeClock) -> Fault:
    """Read a fault, with what a table cannot say: a date from now, a long body."""
    fault = dict(case["fault"])
    headers = fault.setdefault("headers", {}) if "retry_after_date" in case else {}
    if "retry_after_date" in case:
        headers["Retry-After"] = formatdate(clock().wall + case["retry_after_date"], usegmt=True)
    if "body_bytes" in case:
        fault["body"] = "x" * case["body_bytes"]
    return parse(json.dumps(fault).encode())


class Upstream:
    """Counts attempts to reach Entra: at the socket, or where nobody listens there, by what vend says of itself."""

    def __init__(self, cloud: LocalCloud, app: App, case: Case) -> None:
        self._cloud = cloud
        self._app = app
        kind = case.get("fault", {}).get("kind")
        self._unreached = kind in UNREACHED
        self._deaf = kind == Kind.REFUSE or "authority" in case
        self._before = self._total()

    def since(self) -> int:
        """Tell how many there were since the last time."""
        before, self._before = self._before, self._total()
        return self._before - before

    def _total(self) -> int:
        if self._deaf:
            return self._app.pauses + len(self._app.everything("acquire_failed"))
        return len(self._cloud.entra.requests) + (self._cloud.faults["entra"].taken if self._unreached else 0)


def check(told: Told, case: Case) -> None:
    """Compare an answer with the table."""
    assert told.status == case["status"]
    assert told.body.get("error") == case.get("error")
    assert ("access_token" in told.body) is (told.status == 200)
    assert told.body.get("token_source") == case.get("source")
    if told.status != 200:
        assert told.body["retryable"] is case["retryable"]
    low, high = case.get("retry_after", [None, None])
    assert (told.wait is None) is (low is None)
    assert told.wait is None or low <= told.wait <= high


@pytest.mark.parametrize("case", cases("faults.toml"), ids=case_id)
def test_a_fault_is_survived(case: Case, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """Each row: the answer, its wait and its events, the calls to Entra now, at once again and after the wait.

    And for every row: the answer at once again is of the same kind, the old token stays, and once the trouble and the
    wait are over there is a new one.
    """

    async def story() -> None:
        limits = "".join(f"limits.{name} = {value}\n" for name, value in case.get("limits", {}).items())
        app = App(timeless, fake_clock, tmp_path, settings=limits, authority=case.get("authority", ""))
        async with app:
            await told_by(app)

    async def told_by(app: App) -> None:
        if "authority" not in case:
            await app.ask(ORDERS_SCOPE)  # so that the vault has signed, and nothing but Entra is asked
        old: Any = None
        if case["state"] != "cold":
            old = (await app.ask()).body["access_token"]
            fake_clock.tick(AGES[case["state"]])
        upstream = Upstream(timeless, app, case)
        app.pauses = 0
        with trouble(timeless, fake_clock, case):
            told = await app.ask()
            await app.landed()
            first = upstream.since()
            check(told, case)
            again = await app.ask()
            await app.landed()
            at_once = upstream.since()
            assert (again.status, again.body.get("error")) == (told.status, told.body.get("error"))
            if old and not case.get("renewed"):
                assert {told.body["access_token"], again.body["access_token"]} == {old}
            fake_clock.tick(told.wait or case.get("after", AFTER_A_FIRST_WAIT))
            last = await app.ask()
            await app.landed()
            assert [first, at_once, upstream.since()] == case["calls"]
        for event in case.get("events", []):
            assert any(event.items() <= seen.items() for seen in app.everything(event["event"])), event
        if "authority" in case:
            return
        fake_clock.tick(last.wait or case.get("after", AFTER_A_FIRST_WAIT) * 1.5)
        await app.ask()
        await app.landed()
        new = await app.ask()
        assert new.status == 200
        assert new.body["access_token"] != old

    asyncio.run(story())
