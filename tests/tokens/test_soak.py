"""Three days in virtual time: what only grows shows itself."""

import asyncio
import hashlib
import json
import random
import resource
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from shared.core.entra.certificate import Certificate, VersionSummary
from shared.core.entra.clouds import CLOUDS
from shared.core.entra.jws import Algorithm
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import TokenKey
from shared.credentials.chain import Chain
from shared.credentials.credential import Credential
from shared.credentials.vault_certificate import vault_certificate
from shared.credentials.vault_signer import VaultSigner
from shared.telemetry.events import Events
from shared.tokens.acquire import Client, Entra
from shared.tokens.cache import TokenCache
from tests.clock import FakeClock, fake_system, run_virtual

pytestmark = pytest.mark.nightly

HOURS, KEYS, ROTATIONS, TENANTS = 72, 1_000, 10_000, 60
STEPS_PER_HOUR, EVERY = 180, 6  # a key is asked for every two minutes


class Rotating:
    """A vault whose certificates have another version whenever they are read, which is as often as they may be."""

    url = "https://vault.example"

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.versions = 0

    async def certificate_versions(self, name: str) -> list[VersionSummary]:  # noqa: ARG002  # there is one
        """List the versions: there is always one, and another one each time."""
        self.versions += 1
        now = datetime.fromtimestamp(self._clock().wall, UTC)
        version, end = f"v{self.versions}", now + timedelta(days=30)
        return [VersionSummary(version=version, enabled=True, created=now, not_before=None, not_after=end)]

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Read one."""
        now = datetime.fromtimestamp(self._clock().wall, UTC)
        later = now + timedelta(days=30)
        return Certificate(thumbprint=version, not_before=now, not_after=later, chain=()), f"{name}/{version}"

    async def sign(  # no key signs here
        self,
        key_id: str,
        digest: bytes,
        algorithm: Algorithm,  # noqa: ARG002
    ) -> bytes:
        """Sign."""
        return hashlib.sha256(key_id.encode() + digest).digest()


@pytest.mark.timeout(1_200)
def test_three_days_leave_nothing_behind() -> None:
    """REL-50: with 1,000 keys and 10,000 rotations memory grows by less than a twentieth after the first hour."""
    clock = FakeClock()
    vault = Rotating(clock)
    ids, tokens = count(), count()
    draw = random.Random(50).random  # noqa: S311  # not for cryptography
    limits = Limits(vault_reread_seconds=0)
    events = Events(lambda _line: None, wall=lambda: clock().wall, worker="w")

    async def post(url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:  # noqa: ARG001
        answer = {"token_type": "Bearer", "expires_in": 3_599, "access_token": f"opaque-{next(tokens)}" * 100}
        # One in ten fails, so that failures come and go too.
        return Reply(status=503 if next(ids) % 10 == 0 else 200, headers={}, body=json.dumps(answer).encode())

    def new_id() -> str:
        return f"id-{next(ids)}"

    system = fake_system(clock, sleep=asyncio.sleep, chance=draw, new_id=new_id)

    def certificate(name: str) -> Credential:
        return vault_certificate(
            vault,
            name=name,
            signer=lambda version: VaultSigner(vault, name=name, version=version),
            client_id="c",
            limits=limits,
            system=system,
        )

    # Each is read once a minute at the most.
    chain = Chain([certificate(name) for name in ("vend", "second", "third")], limits=limits, system=system)
    entra = Entra(
        cloud=CLOUDS["public"],
        clients={"graph": Client(client_id="c", credential=chain)},
        post=post,
        limits=limits,
        system=system,
        events=events,
    )
    cache = TokenCache(entra.acquire, version=entra.version, limits=limits, system=system, events=events)
    keys = [TokenKey("graph", f"tenant-{number % TENANTS}", f"api://{number}/.default") for number in range(KEYS)]
    peaks: list[int] = []

    async def story() -> None:
        for step in range(HOURS * STEPS_PER_HOUR):
            begun = keys[: 2 * KEYS * (step + 1) // STEPS_PER_HOUR]  # not all at once, so that refreshes are spread
            for key in begun[step % EVERY :: EVERY]:
                if cache.hit(key) is None:
                    await asyncio.wait([asyncio.ensure_future(cache.get(key))])
            events.flush()
            await asyncio.sleep(3_600 / STEPS_PER_HOUR)
            if step in {STEPS_PER_HOUR, HOURS * STEPS_PER_HOUR - 1}:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    run_virtual(story, clock)
    after_an_hour, at_the_end = peaks
    assert at_the_end < 1.05 * after_an_hour
    assert len(cache) == KEYS
    assert cache.counters.acquired > KEYS * HOURS
    assert vault.versions >= ROTATIONS
