"""A certificate in a vault, with everything around it."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from shared.core.entra.certificate import CertificateVersion
from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.token import TokenKey
from shared.credentials.vault_certificate import VaultCertificate
from shared.telemetry.events import Events
from tests.clock import FakeClock, fake_system

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
CLIENT = "cccccccc-1111-1111-1111-111111111111"
KEY = TokenKey("graph", TENANT, "https://graph.microsoft.com/.default")
ENDPOINT = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"


class FakeVault:
    """Has one certificate, and signs with a digest of digests; it counts what it is asked."""

    error: UpstreamError | None = None

    def __init__(self, clock: FakeClock) -> None:
        self.version = "v1"
        self.not_after = datetime.fromtimestamp(clock().wall, UTC) + timedelta(days=30)
        self.readings = 0
        self.signings = 0

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Read it."""
        self.readings += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return CertificateVersion(
            version=self.version, key_id=f"{name}/{self.version}", thumbprint=self.version, not_after=self.not_after
        )

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Sign."""
        self.signings += 1
        await asyncio.sleep(0)
        return hashlib.sha256(key_id.encode() + digest).digest()


class Bench:
    """A credential with everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pauses: list[float] = []
        self.lines: list[str] = []
        self.events = Events(self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.vault = FakeVault(self.clock)
        numbers = count()
        self.system = fake_system(
            self.clock, sleep=self.sleep, chance=lambda: 0.5, new_id=lambda: f"id-{next(numbers)}"
        )
        self.credential = self.credential_in(self.vault)

    def credential_in(self, vault: FakeVault, **limits: int) -> VaultCertificate:
        """Make a credential whose certificate is in a vault."""
        return VaultCertificate(vault=vault, name="vend", client_id=CLIENT, limits=Limits(**limits), system=self.system)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.pauses.append(seconds)

    def told(self) -> list[Mapping[str, Any]]:
        """List the events."""
        self.events.flush()
        return [json.loads(line) for line in self.lines]

    def assertion(self, audience: str = ENDPOINT) -> str:
        """Get an assertion."""
        return asyncio.run(self.credential.proof(audience, None)).fields["client_assertion"]
