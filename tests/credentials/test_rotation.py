"""The versions that Entra does not know are registered, each at its hours, and what prevents it is an event."""

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count

import pytest

from shared.core.errors import OperatorError, TimedOut
from tests.clock import run_virtual
from tests.contract import event_conforms
from tests.credentials.bench import HOUR
from tests.credentials.tenant import Tenant
from tests.tables import case_id, cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run; tests/data/rotation.toml describes the fields."""

    id: str
    ages: dict[str, float]
    known: list[str] = field(default_factory=lambda: ["v1"])
    entra: dict[str, list[str]] = field(default_factory=dict)
    graph: list[str] = field(default_factory=list)
    vault: bool = False
    ahead: float = 0.0
    asked: list[str]
    calls: int
    told: list[str] = field(default_factory=list)
    seconds: int | None = None
    remedy: str = ""


@pytest.mark.parametrize("case", cases("rotation.toml", Case), ids=case_id)
def test_a_run_registers_what_entra_does_not_know(case: Case) -> None:
    """Each answer of Entra, Graph and the vault: what is asked, what is reported, and what the operator should do."""
    tenant = Tenant(ages=case.ages)
    tenant.known = dict.fromkeys(case.known, 0.0)
    tenant.refusals, tenant.graph, tenant.ahead = dict(case.entra), list(case.graph), case.ahead
    if tenant.refusals.pop("others", []) == ["away"]:
        tenant.away = TimedOut(cause="Entra: timeout")
    if case.vault:
        tenant.vault.unreadable = OperatorError(cause="Key Vault: HTTP 403", remedy="needs certificates/read")
    asyncio.run(tenant.run())

    assert (tenant.asked, tenant.graph_calls) == (case.asked, case.calls)
    assert [fault for line in tenant.lines for fault in event_conforms(line)] == []
    events = [json.loads(line) for line in tenant.lines]
    told = [
        [event["event"], event.get("credential", "").rpartition("/")[2], event.get("cause", "")] for event in events
    ]
    assert [" ".join(filter(None, words)) for words in told] == case.told
    if case.seconds or case.remedy:
        [event] = events
        assert event.get("seconds") == case.seconds
        assert case.remedy in event["remedy"] if case.remedy else "remedy" not in event
    assert "a text of Graph's" not in "".join(tenant.lines)


@pytest.mark.parametrize("takes_duplicates", [True, False], ids=["taken", "refused"])
def test_a_run_that_is_killed_anywhere_is_made_good_by_the_next(*, takes_duplicates: bool) -> None:
    """Before and after every call in turn: the next hour finds the truth by asking Entra; two tries at the most."""
    for kill_at in count():
        tenant = Tenant(ages={"v1": 2160, "v2": 0})
        tenant.takes_duplicates = takes_duplicates
        was_killed = asyncio.run(tenant.run(kill_at=kill_at))
        tenant.clock.tick(HOUR)
        asyncio.run(tenant.run())
        assert "v2" in tenant.known
        assert tenant.tries["v2"] <= 2
        if not was_killed:
            break
    assert kill_at > 10


@pytest.mark.parametrize("takes_duplicates", [True, False], ids=["taken", "refused"])
def test_two_instances_at_once_do_no_harm(*, takes_duplicates: bool) -> None:
    """Each registers the version, or is told that it is registered; neither knows of the other."""
    tenant = Tenant(ages={"v1": 2160, "v2": 0})
    tenant.takes_duplicates = takes_duplicates

    async def story() -> None:
        await asyncio.gather(tenant.run(), tenant.run())
        tenant.clock.tick(HOUR)
        await asyncio.gather(tenant.run(), tenant.run())

    asyncio.run(story())
    assert tenant.tries == {"v2": 2}
    assert "v2" in tenant.known


def test_a_lost_answer_is_found_out_by_asking_entra() -> None:
    """Graph has registered the version, and the answer never came: the next run tries nothing."""
    tenant = Tenant(ages={"v1": 2160, "v2": 0})
    tenant.graph = ["lost"]
    for _ in range(3):
        asyncio.run(tenant.run())
        tenant.clock.tick(HOUR)
    assert tenant.tries == {"v2": 1}


def test_a_policy_that_is_lifted_late_finds_a_try_before_the_signer_ends() -> None:
    """A certificate of a year is renewed 73 days before its end; the tenant permits the new version after 60 of them.

    It is registered on the day 66, while the old one can still sign. Each try is one request and one line.
    """
    tenant = Tenant(ages={"v1": 292 * 24 + 40 * 24, "v2": 40 * 24})
    registered_on = []

    async def story() -> None:
        for hour in range(40 * 24, 73 * 24):
            tenant.graph = ["400 CredentialInvalidLifetimeAsPerAppPolicy"] if hour < 60 * 24 else []
            await tenant.run()
            if "v2" in tenant.known:
                registered_on.append(hour / 24)
                return
            tenant.clock.tick(HOUR)

    asyncio.run(story())
    assert registered_on == [66]
    told = [json.loads(line)["event"] for line in tenant.lines]
    assert told == ["registration_failed"] * 2 + ["credential_registered"]
    assert tenant.graph_calls == 3


def test_a_run_ends_although_a_part_never_answers() -> None:
    """The vault hangs: the run is given up before the host ends it, and says so."""
    tenant = Tenant(ages={"v1": 2160, "v2": 0})

    async def story() -> None:
        tenant.vault.is_hung = True
        began = asyncio.get_running_loop().time()
        await tenant.run()
        assert asyncio.get_running_loop().time() - began < 300

    run_virtual(story, tenant.clock)
    assert "the run took too long" in tenant.lines[-1]
