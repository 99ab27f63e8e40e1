import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal

import pytest

from emulator.cloud import LocalCloud
from emulator.entra.app import HONEST, Forgery
from emulator.network.faults import Fault, Kind
from tests.clock import FakeClock
from tests.in_process import ORDERS_SCOPE, App, ParsedFault, Told, suffering
from tests.tables import case_id, cases

pytestmark = pytest.mark.slow

# Seconds after which an hour's token is due for its refresh, or has three minutes left, or is no longer served.
AGES = {"warm": 1_700, "ending": 3_419}
# Faults of requests that Entra never sees, or sees when their client is gone: they are counted where they happen.
UNREACHED = {Kind.TLS, Kind.BLACK_HOLE, Kind.DELAY, Kind.STATUS, Kind.GARBAGE, Kind.ENDLESS}
# Longer than any wait that is the failure memory's own first one.
AFTER_A_FIRST_WAIT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """What Entra says in place of the truth, as JSON."""

    claims: str = "{}"
    answer: str = "{}"
    headers: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row of the fault table; tests/data/faults.toml describes the fields."""

    id: str
    state: Literal["cold", "warm", "ending"]
    fault: ParsedFault | None = None
    retry_after_date: int | None = None
    body_bytes: int | None = None
    forged: Forged | None = None
    authority: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    status: int
    error: str | None = None
    retryable: bool | None = None
    source: str | None = None
    retry_after: tuple[int, int] | None = None
    calls: tuple[int, int, int]
    renewed: bool = False
    after: int = AFTER_A_FIRST_WAIT
    events: tuple[Mapping[str, str | int], ...] = ()


@contextmanager
def trouble(cloud: LocalCloud, clock: FakeClock, case: Case) -> Iterator[None]:
    """Make happen what a case says."""
    if forged := case.forged:
        cloud.entra.forgery = Forgery(*map(json.loads, (forged.claims, forged.answer, forged.headers)))
        try:
            yield
        finally:
            cloud.entra.forgery = HONEST
    elif case.fault:
        with suffering(cloud.faults["entra"], completed(case.fault, case, clock)):
            yield
    else:
        yield


def completed(fault: Fault, case: Case, clock: FakeClock) -> Fault:
    """Add to a fault what a table cannot say: a date from now, a long body."""
    if case.retry_after_date is not None:
        date = formatdate(clock().wall + case.retry_after_date, usegmt=True)
        fault = replace(fault, headers={**fault.headers, "Retry-After": date})
    return replace(fault, body="x" * case.body_bytes) if case.body_bytes else fault


class Upstream:
    """Counts attempts to reach Entra: at the socket, or where nobody listens there, by what vend says of itself."""

    def __init__(self, cloud: LocalCloud, app: App, case: Case) -> None:
        self._cloud = cloud
        self._app = app
        kind = case.fault.kind if case.fault else None
        self._unreached = kind in UNREACHED
        self._deaf = kind is Kind.REFUSE or bool(case.authority)
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
    assert told.status == case.status
    assert told.body.get("error") == case.error
    assert ("access_token" in told.body) is (told.status == 200)
    assert told.body.get("token_source") == case.source
    if told.status != 200:
        assert told.body["retryable"] is case.retryable
    assert (told.wait is None) is (case.retry_after is None)
    if told.wait is not None and case.retry_after is not None:
        least, most = case.retry_after
        assert least <= told.wait <= most


@pytest.mark.parametrize("case", cases("faults.toml", Case), ids=case_id)
def test_a_fault_is_survived(case: Case, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """Each row: the answer, its wait and its events, the calls to Entra now, at once again and after the wait.

    And for every row: a second request at once gets an answer of the same kind, and the old token stays. Once the
    trouble and the wait are over, there is a new one.
    """

    async def story() -> None:
        limits = "".join(f"limits.{name} = {value}\n" for name, value in case.limits.items())
        app = App(timeless, fake_clock, tmp_path, settings=limits, authority=case.authority)
        async with app:
            await told_by(app)

    async def told_by(app: App) -> None:
        if not case.authority:
            await app.ask(ORDERS_SCOPE)  # so that the vault has signed, and nothing but Entra is asked
        old: Any = None
        if case.state != "cold":
            old = (await app.ask()).body["access_token"]
            fake_clock.tick(AGES[case.state])
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
            if old and not case.renewed:
                assert {told.body["access_token"], again.body["access_token"]} == {old}
            fake_clock.tick(told.wait or case.after)
            last = await app.ask()
            await app.landed()
            assert (first, at_once, upstream.since()) == case.calls
        for event in case.events:
            assert any(event.items() <= seen.items() for seen in app.everything(str(event["event"]))), event
        if case.authority:
            return
        fake_clock.tick(last.wait or case.after * 1.5)
        await app.ask()
        await app.landed()
        new = await app.ask()
        assert new.status == 200
        assert new.body["access_token"] != old

    asyncio.run(story())
