"""A link that proves the client by an assertion which the key of a certificate signs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.core.entra.assertion import ASSERTION_REUSE, assertion_fields, unsigned_assertion
from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm, compact
from shared.core.limits import Limits
from shared.core.token import Moment
from shared.credentials.credential import Proof
from shared.single_flight import Flights
from shared.system import System


class Signer(Protocol):
    """Signs with the key of one certificate; it raises the errors of `Link.proof`."""

    async def certificate(self) -> Certificate:
        """Return the certificate of the key."""

    async def sign(self, content: bytes, algorithm: Algorithm = Algorithm.PS256) -> bytes:
        """Return a signature of some content."""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """The id and the dates of a link, as `Link` has them."""

    id: str
    created: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Assertion:
    fields: Mapping[str, str] = field(repr=False)
    until: Moment


class CertificateLink:
    """One certificate and its key.

    Cached per worker process: for each audience, one per tenant, one assertion for 9 of its 10 minutes.

    Args:
        facts: of the link.
        signer: signs with its key.
        client_id: of the app registration.
        send_x5c: whether the certificate itself goes with the assertion, for trust by subject name and issuer.
        limits: the knobs.
        system: clocks and ids.
    """

    has_clock = True

    def __init__(
        self, facts: LinkFacts, *, signer: Signer, client_id: str, send_x5c: bool, limits: Limits, system: System
    ) -> None:
        self.id = facts.id
        self.created = facts.created
        self.not_after = facts.not_after
        self.signer = signer
        self._client_id = client_id
        self._send_x5c = send_x5c
        self._limits = limits
        self._clock = system.clock
        self._new_id = system.new_id
        self._assertions: dict[str, _Assertion] = {}
        self._signings: Flights[str, Mapping[str, str]] = Flights(seconds=limits.caller_budget_seconds)

    async def proof(self, audience: str, claims: str | None, *, clock_ahead: float) -> Proof:  # noqa: ARG002  # see Link
        """Return a client assertion for a token endpoint; errors as in `Link`."""
        cached = self._assertions.get(audience)
        now = self._clock()
        if cached is not None and now.wall < cached.until.wall and now.boot < cached.until.boot:
            return Proof(cached.fields, is_reused=True)
        is_shared = audience in self._signings
        fields = await self._signings.join(audience, lambda: self._sign(audience, clock_ahead))
        return Proof(fields, is_reused=is_shared)

    def drop(self, proof: Proof) -> bool:
        """Drop an assertion, so that it is not sent again; the next one is signed anew."""
        self._assertions = {
            audience: made for audience, made in self._assertions.items() if made.fields != proof.fields
        }
        return True

    async def _sign(self, audience: str, clock_ahead: float) -> Mapping[str, str]:
        certificate = await self.signer.certificate()
        now = self._clock()
        unsigned = unsigned_assertion(
            client_id=self._client_id,
            audience=audience,
            certificate=certificate,
            send_x5c=self._send_x5c,
            jti=self._new_id(),
            now=now.wall - clock_ahead,
        )
        fields = assertion_fields(compact(unsigned, await self.signer.sign(unsigned)))
        reuse = ASSERTION_REUSE.total_seconds()
        until = Moment(wall=now.wall + reuse, boot=now.boot + reuse)
        self._assertions.pop(audience, None)
        self._assertions[audience] = _Assertion(fields, until)
        if len(self._assertions) > self._limits.cache_entries:
            del self._assertions[next(iter(self._assertions))]
        return fields
