"""Months of renewals on a clock that only the test moves: callers notice none of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest

from shared.core.errors import UpstreamError
from shared.credentials.check import check_credentials, standing
from tests.clock import settle
from tests.credentials.bench import HOUR, KEY
from tests.credentials.tenant import DAY, Tenant

WEEK, MONTH, YEAR = 7.0, 30.0, 365.0  # days; a month is the shortest life of a certificate in Key Vault
RENEWED_AT = 0.8
STEPS = 16
"""More steps than a run has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What happens to the version of one renewal.

    Args:
        propagation: hours until Entra knows what was registered.
        forbidden: hours for which Graph answers as `code` says; from then on it registers.
        code: of that answer.
        lost: how many answers of Graph get lost after it has registered the version.
        instances: how many run at once.
        killed: hours for which every run is killed, at each step in turn.
        takes_duplicates: as in `Tenant`.
    """

    propagation: float = 0.0
    forbidden: float = 0.0
    code: str = "400 CredentialInvalidLifetimeAsPerAppPolicy"
    lost: int = 0
    instances: int = 1
    killed: float = 0.0
    takes_duplicates: bool = True


TROUBLES = (
    Trouble(),
    Trouble(propagation=3),
    Trouble(forbidden=20),
    Trouble(forbidden=6, code="503 UnknownError", propagation=1),
    Trouble(killed=24),
    Trouble(instances=2, propagation=5),
    Trouble(instances=2, propagation=5, takes_duplicates=False),
    Trouble(lost=3, propagation=2, takes_duplicates=False),
    Trouble(forbidden=60, code="403 Directory_ResourceSizeExceeded"),
    Trouble(instances=2, killed=30, forbidden=40, lost=1, propagation=9),
)
SHORT = (Trouble(forbidden=20, propagation=3), Trouble(instances=2, killed=24, lost=1, takes_duplicates=False))


@dataclass(slots=True)
class Life:
    """A tenant with a worker that is asked all the time, and is restarted each day.

    Args:
        tenant: whose vault renews the certificate by its policy.
        step: seconds from one request to the next.
        days: of the life of a version.
        troubles: of each renewal; it ends when the last of them is over.
        failed: the days at which a caller got no token, with the cause.
    """

    tenant: Tenant
    step: float
    days: float
    troubles: Sequence[Trouble]
    failed: list[tuple[float, str]] = field(default_factory=list)

    async def live(self) -> None:
        """Let the months pass."""
        tenant, renewals, kills = self.tenant, 0, count()
        made = began = tenant.clock.wall()
        tenant.vault.versions = {"v1": tenant.vault.version(life=self.days)}
        worker, day = tenant.worker(), 0
        trouble = Trouble()
        while True:
            tenant.clock.tick(self.step)
            now = tenant.clock.wall()
            if now >= made + RENEWED_AT * self.days * DAY:
                if renewals == len(self.troubles):
                    return
                trouble, made, renewals = self.troubles[renewals], now, renewals + 1
                tenant.renew(life=self.days)
                tenant.propagation = trouble.propagation * HOUR
                tenant.takes_duplicates = trouble.takes_duplicates
            if (today := int((now - began) // DAY)) > day:
                worker, day = tenant.worker(), today
            if now % HOUR == HOUR / 2:
                await self._rotate(trouble, age=(now - made) / HOUR, kills=kills)
            try:
                await worker.get(KEY)
            except UpstreamError as error:
                self.failed.append(((now - began) / DAY, error.cause))
            await settle()

    async def _rotate(self, trouble: Trouble, *, age: float, kills: "count[int]") -> None:
        tenant = self.tenant
        tenant.graph = ["lost"] * max(0, trouble.lost - tenant.tries[f"v{len(tenant.vault.versions)}"])
        if age < trouble.forbidden:
            tenant.graph = [trouble.code] * trouble.instances
        kill_at = next(kills) % STEPS if age < trouble.killed else None
        await asyncio.gather(*(tenant.run(kill_at=kill_at) for _ in range(trouble.instances)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("troubles", "days", "step"),
    [
        pytest.param(SHORT, 2 * WEEK, HOUR / 2, id="two renewals"),
        pytest.param(
            TROUBLES, MONTH, HOUR / 12, id="ten renewals", marks=[pytest.mark.nightly, pytest.mark.timeout(600)]
        ),
    ],
)
def test_no_caller_notices_a_renewal(troubles: Sequence[Trouble], days: float, step: float) -> None:
    """REL-28, REL-30: whatever goes wrong, every request gets a token, and every version is registered in the end."""
    tenant = Tenant()
    life = Life(tenant, step=step, days=days, troubles=troubles)
    asyncio.run(life.live())

    assert life.failed == []
    assert tenant.known.keys() == tenant.vault.versions.keys()
    assert len(tenant.known) == len(troubles) + 1
    for number, trouble in enumerate(troubles, start=2):
        assert 1 <= tenant.tries[f"v{number}"] <= 15 * trouble.instances


@pytest.mark.slow
def test_without_rotation_callers_are_served_until_the_last_registered_version_ends() -> None:
    """REL-28: nobody uploads the renewed version: both warnings come at their times, long before the first failure."""
    tenant = Tenant()
    tenant.vault.versions = {"v1": tenant.vault.version(days=-290, life=YEAR)}
    began = tenant.clock.wall() - 290 * DAY
    warned: dict[str, float] = {}
    failed: list[float] = []

    async def story() -> None:
        worker, day = tenant.worker(), 290
        while (age := (tenant.clock.wall() - began) / DAY) < YEAR + 1:
            if age >= RENEWED_AT * YEAR and len(tenant.vault.versions) == 1:
                tenant.renew(life=YEAR)
            if int(age) > day:
                worker, day = tenant.worker(), int(age)
            try:
                await worker.get(KEY)
            except UpstreamError:
                failed.append(age)
            await settle()
            now = tenant.clock()
            warned.setdefault(check_credentials([standing(tenant.chain, now)], now).detail, age)
            tenant.clock.tick(HOUR / 2)

    asyncio.run(story())
    assert YEAR <= failed[0] < YEAR + 2 / 24  # the last token lives an hour longer than the certificate
    at = {words: age for words, age in warned.items() if words.startswith("ends on 2027-03-31")}
    assert at["ends on 2027-03-31, and Entra refuses a newer version"] == pytest.approx(RENEWED_AT * YEAR + 26 / 24)
    assert at["ends on 2027-03-31, in 30 days"] == pytest.approx(YEAR - 30)
    assert at["ends on 2027-03-31, in 7 days"] == pytest.approx(YEAR - 8, abs=0.03)
