"""Registers the versions of a certificate at Entra: nobody has to when Key Vault has renewed one.

Theory of operation
===================

A run asks Entra for a token with each usable version, the newest first, and with nothing else:

    Entra accepts the version             it can sign the proof for others
    Entra does not know it (700027)       it is registered, if the hour is one for a version of its age (`is_due`)
    anything else                         it is reported; the next run asks again

To register is one request to Microsoft Graph, `addKey`, with a token and a proof by a version that Entra accepts. An
app needs no permission of Graph for its own keys. Nothing is ever removed: a registration that is over does no harm.

No state is kept or shared. The truth is what Entra accepts, and every run asks for it. So a run may be killed anywhere,
run twice, or run on two instances at once. What a run learns reaches no worker that vends: each finds the new version
by its own chain (`chain.py`).
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.core.entra.clouds import Cloud
from shared.core.entra.jws import compact
from shared.core.entra.key_proof import AUDIENCES, PROOF_ALGORITHM, add_key_address, add_key_body, unsigned_proof
from shared.core.entra.key_registration import (
    is_certificate_refused,
    is_due,
    is_proof_refused,
    is_unregistered,
    registration_refusal,
    seconds_to_next_try,
)
from shared.core.errors import CredentialRefused, UpstreamError
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, TokenKey
from shared.credentials.certificate_link import Signer
from shared.credentials.chain import Chain
from shared.credentials.credential import Link, Proof
from shared.credentials.fixed import FixedCredential
from shared.credentials.flight import ChainFlight
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

RUN_SECONDS = 240.0
"""After which a run is given up: `functionTimeout` in host.json ends it at 300."""


class Version(Link, Protocol):
    """A version of a certificate."""

    @property
    def signer(self) -> Signer:
        """Signs with its key."""


class Certificate(Protocol):
    """A certificate in Key Vault."""

    @property
    def links(self) -> Sequence[Version]:
        """The usable versions as of the last reading."""

    async def read(self) -> None:
        """Read which versions there are; errors as in `Credential.read`."""


class Ask(Protocol):
    """Asks Entra for a token."""

    def __call__(self, key: TokenKey, proof: Proof, *, client_id: str, request_id: str) -> Awaitable[AccessToken]:
        """Return a token; raise an `UpstreamError` where Entra gives none."""


class Send(Protocol):
    """Sends a request to Microsoft Graph."""

    def __call__(self, method: str, url: str, *, headers: Mapping[str, str], content: bytes) -> Awaitable[Reply]:
        """Return the answer; raise an `UpstreamError` where none comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRegistration:
    """The app registration at which certificates are registered, and its profile.

    Args:
        profile: name of the profile.
        client_id, object_id: of the app registration.
        tenant_id: its home.
        cloud: of its Entra and its Graph.
    """

    profile: str
    client_id: str
    object_id: str
    tenant_id: str
    cloud: Cloud


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A version that Entra accepts, and the token that it has given for it."""

    version: Version
    token: AccessToken


class Rotation:
    """Registers the certificates of one app registration.

    Args:
        registration: the app registration.
        certificates: its certificates in Key Vault.
        ask: asks Entra.
        send: asks Graph.
        limits: the knobs.
        system: clocks and ids.
        events: where a registration or a failure is reported.
    """

    def __init__(
        self,
        registration: AppRegistration,
        *,
        certificates: Sequence[Certificate],
        ask: Ask,
        send: Send,
        limits: Limits,
        system: System,
        events: Events,
    ) -> None:
        self._registration = registration
        self._certificates = certificates
        self._ask = ask
        self._send = send
        self._limits = limits
        self._system = system
        self._events = events

    async def run(self) -> None:
        """Register each version that Entra does not know; what fails is an event, and the next run tries again."""
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await self._run()
        except TimeoutError:
            self._report_failure("the run took too long")
        except Exception as error:  # noqa: BLE001  # a defect of ours is an event, and never a traceback in the log
            self._report_failure(type(error).__name__)
        self._events.flush()

    async def _run(self) -> None:
        is_known = await self._read()  # which versions Entra accepts
        accepted: _Accepted | None = None
        unregistered: list[Version] = []
        for version in self._versions():
            try:
                token = await self._token(version)
            except UpstreamError as error:
                if is_unregistered(error):
                    unregistered.append(version)
                    continue
                is_known = is_known and is_certificate_refused(error)
                self._report_failure(error.cause, version=version, remedy=error.remedy)
            else:
                accepted = accepted or _Accepted(version, token)
        for version in unregistered:
            if accepted is None and is_known:
                self._report_no_signer(version)
            elif accepted and is_due(_created(version), self._system.clock.wall()):
                await self._register(version, accepted)

    async def _read(self) -> bool:
        """Read which versions each certificate has, and return whether that succeeded for all of them."""
        is_read = True
        for certificate in self._certificates:
            try:
                await certificate.read()
            except UpstreamError as error:
                is_read = False
                self._report_failure(error.cause, remedy=error.remedy)
        return is_read

    def _versions(self) -> list[Version]:
        """Return the usable versions, the newest first."""
        found = (version for certificate in self._certificates for version in certificate.links)
        return sorted(found, key=_created, reverse=True)

    async def _token(self, version: Version) -> AccessToken:
        """Return a token for Graph that Entra has given for one version alone.

        Raises:
            UpstreamError: Entra, or the vault, refuses or fails.
        """
        ours, system = self._registration, self._system
        flight = ChainFlight(
            Chain([FixedCredential(version)], limits=self._limits, system=system),
            in_background=False,
            left=lambda: RUN_SECONDS,  # its one link shares the time with no other
            report=lambda *_: None,
            report_unread=lambda _: None,
        )
        key = TokenKey(ours.profile, ours.tenant_id, ours.cloud.graph_scope)
        while True:
            proof = await flight.proof(ours.cloud.token_endpoint(ours.tenant_id), None)
            try:
                return await self._ask(key, proof, client_id=ours.client_id, request_id=system.new_id())
            except CredentialRefused as error:
                if not await flight.refused(error):
                    raise

    async def _register(self, version: Version, accepted: _Accepted) -> None:
        """Register a version, and report what came of it."""
        try:
            reply = await self._add_key(version, accepted, audience=AUDIENCES[0])
            if is_proof_refused(reply):
                reply = await self._add_key(version, accepted, audience=AUDIENCES[1])
            if reply.status != 200:
                raise registration_refusal(reply, now=self._system.clock.wall())
        except UpstreamError as error:
            seconds = seconds_to_next_try(_created(version), self._system.clock.wall())
            self._report_failure(error.cause, version=version, remedy=error.remedy, seconds=seconds)
        else:
            self._events.emit(catalogue.CredentialRegistered(profile=self._registration.profile, credential=version.id))

    async def _add_key(self, version: Version, accepted: _Accepted, *, audience: str) -> Reply:
        """Ask Graph to register a version.

        Raises:
            UpstreamError: the vault fails, or Graph gives no answer.
        """
        ours, signer = self._registration, accepted.version.signer
        unsigned = unsigned_proof(
            object_id=ours.object_id,
            audience=audience,
            certificate=await signer.certificate(),
            now=self._system.clock.wall() - accepted.token.clock_ahead,
        )
        proof = compact(unsigned, await signer.sign(unsigned, PROOF_ALGORITHM))
        return await self._send(
            "POST",
            add_key_address(ours.cloud.graph, ours.object_id),
            headers={
                "authorization": f"Bearer {accepted.token.secret}",
                "client-request-id": self._system.new_id(),
                "content-type": "application/json",
            },
            content=add_key_body(await version.signer.certificate(), proof=proof),
        )

    def _report_no_signer(self, version: Version) -> None:
        self._events.emit(
            catalogue.RegistrationImpossible(
                profile=self._registration.profile,
                credential=version.id,
                cause="Entra accepts no version that could sign the proof",
            )
        )

    def _report_failure(
        self, cause: str, *, version: Version | None = None, remedy: str | None = None, seconds: int | None = None
    ) -> None:
        self._events.emit(
            catalogue.RegistrationFailed(
                profile=self._registration.profile,
                credential=version.id if version else None,
                cause=cause,
                remedy=remedy,
                seconds=seconds,
            )
        )


def _created(version: Version) -> datetime:
    assert version.created is not None
    return version.created
