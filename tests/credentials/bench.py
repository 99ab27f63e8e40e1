"""A certificate in a vault, with everything around it."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from shared.core.entra.certificate import Certificate, VersionSummary
from shared.core.entra.jws import Algorithm
from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.token import TokenKey
from shared.credentials.chain import Chain
from shared.credentials.credential import Proof
from shared.credentials.flight import ChainFlight
from shared.credentials.vault_certificate import vault_certificate
from shared.credentials.vault_signer import VaultSigner
from shared.telemetry.events import Events
from tests.clock import FakeClock, fake_system

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
CLIENT = "cccccccc-1111-1111-1111-111111111111"
KEY = TokenKey("graph", TENANT, "https://graph.microsoft.com/.default")
ENDPOINT = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
HOUR = 3_600.0


class FakeVault:
    """Has one certificate, and signs with a digest of digests; it counts what it is asked."""

    url = "https://vault.example"
    error: Exception | None = None
    unreadable: UpstreamError | None = None
    is_hung = False
    delay = 0.0

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.versions = {"v1": self.version(days=-90)}
        self.sign_errors: dict[str, UpstreamError] = {}
        self.readings = 0
        self.signings = 0

    def version(self, *, days: float = 0, life: float = 365, enabled: bool = True) -> VersionSummary:
        """Describe a version that is made so many days from now, and lives so many."""
        made = datetime.fromtimestamp(self._clock().wall, UTC) + timedelta(days=days)
        return VersionSummary("", enabled=enabled, created=made, not_before=made, not_after=made + timedelta(days=life))

    async def certificate_versions(self, name: str) -> list[VersionSummary]:  # noqa: ARG002  # there is one
        """List the versions."""
        self.readings += 1
        await self._answer(self.unreadable)
        return [replace(found, version=version) for version, found in self.versions.items()]

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Read one."""
        await self._answer(None)
        begin, end = self.versions[version].not_before, self.versions[version].not_after
        assert begin is not None
        assert end is not None
        chain = (version.encode(),)
        return Certificate(thumbprint=version, not_before=begin, not_after=end, chain=chain), f"{name}/{version}"

    async def sign(  # no key signs here
        self,
        key_id: str,
        digest: bytes,
        algorithm: Algorithm,  # noqa: ARG002
    ) -> bytes:
        """Sign."""
        self.signings += 1
        await self._answer(self.sign_errors.get(key_id.rpartition("/")[2]))
        return hashlib.sha256(key_id.encode() + digest).digest()

    async def _answer(self, error: Exception | None) -> None:
        """Answer after so many seconds, fail, or never end."""
        await asyncio.sleep(HOUR if self.is_hung else self.delay)
        if failure := self.error or error:
            raise failure


class Bench:
    """A credential with everything around it; the limits are the usual ones but for those that are given."""

    def __init__(self, **limits: int) -> None:
        self.clock = FakeClock()
        self.pauses: list[float] = []
        self.lines: list[str] = []
        self.events = Events(self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.vault = FakeVault(self.clock)
        numbers = count()
        self.system = fake_system(
            self.clock, sleep=self.sleep, chance=lambda: 0.5, new_id=lambda: f"id-{next(numbers)}"
        )
        self.credential = vault_certificate(
            self.vault,
            name="vend",
            signer=lambda version: VaultSigner(self.vault, name="vend", version=version),
            client_id=CLIENT,
            limits=Limits(**limits),
            system=self.system,
        )
        self.chain = Chain([self.credential], limits=Limits(), system=self.system)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.pauses.append(seconds)

    def told(self) -> list[Mapping[str, Any]]:
        """List the events, without those that say which link serves."""
        self.events.flush()
        events = [json.loads(line) for line in self.lines]
        return [event for event in events if event["event"] not in {"credential_accepted", "credential_rests"}]

    def assertion(self, audience: str = ENDPOINT) -> str:
        """Return an assertion of the link that is asked with first."""
        return asyncio.run(self.prove(audience)).fields["client_assertion"]

    async def prove(self, audience: str = ENDPOINT) -> Proof:
        """Return a proof as one flight gets it."""
        return await self.flight().proof(audience, None)

    def flight(self, *, in_background: bool = False) -> ChainFlight:
        """Begin a flight."""
        return ChainFlight(
            self.chain,
            in_background=in_background,
            left=lambda: 20.0,
            report=lambda *_: None,
            report_unread=lambda _: None,
        )
