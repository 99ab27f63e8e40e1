"""Acquires tokens from Entra: proves the client, asks, and reads the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from shared.core.entra.claims import claims_to_send
from shared.core.entra.clouds import Cloud
from shared.core.errors import CredentialRefused, RegionRefused, UpstreamError
from shared.core.limits import Limits
from shared.core.retry import pause
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.credentials.chain import Chain
from shared.credentials.credential import Link, Proof
from shared.credentials.flight import ChainFlight
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events
from shared.tokens.endpoint import Post, TokenEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An app registration, as one profile uses it.

    Args:
        client_id: of the registration.
        credential: proves the client.
        region: whose endpoint is asked first; "" for the global one alone.
        capabilities: what the client can handle, such as `cp1`.
    """

    client_id: str
    credential: Chain
    region: str = ""
    capabilities: tuple[str, ...] = ()


class Entra:
    """Acquires tokens for the profiles of one cloud.

    Args:
        cloud: whose Entra is asked.
        clients: by profile.
        post: sends a form.
        limits: the knobs.
        system: clocks, sleep, and chance, which spreads the refreshes of tokens.
        events: where oddities of an answer are reported that are no reason to reject it.
    """

    def __init__(
        self, *, cloud: Cloud, clients: Mapping[str, Client], post: Post, limits: Limits, system: System, events: Events
    ) -> None:
        self._cloud = cloud
        self._clients = clients
        self._endpoint = TokenEndpoint(cloud=cloud, post=post, limits=limits, system=system, events=events)
        self._limits = limits
        self._system = system
        self._events = events
        self._no_region: set[str] = set()  # profiles that Entra refuses to serve regionally
        self._audiences: dict[tuple[str, str], str] = {}  # by profile and scope; the configuration bounds both

    def version(self, key: TokenKey) -> str:
        """Return the name of the credential that a request for this key would use now."""
        return self._clients[key.profile].credential.version

    async def acquire(self, wanted: Wanted) -> Acquired:
        """Return a token that Entra has just issued.

        A failure that may pass is tried once more. A refused link gives way to the next one of the chain.

        Raises:
            UpstreamError: none can be acquired now.
        """
        key = wanted.key
        client = self._clients[key.profile]
        audience = self._cloud.token_endpoint(key.tenant_id)
        region = "" if key.profile in self._no_region else client.region
        until = self._system.clock.boot() + self._limits.caller_budget_seconds
        flight = ChainFlight(
            client.credential,
            in_background=wanted.in_background,
            left=lambda: until - self._system.clock.boot(),
            report=partial(self._report_rest, key),
            report_unread=partial(self._report_unread, key),
        )
        attempt = 1
        while True:
            try:
                async with flight.turn():
                    proof = await flight.proof(audience, wanted.claims)
                    token = await self._attempt(wanted, client, region, proof)
            except RegionRefused as error:
                if not region:
                    raise
                self._no_region.add(key.profile)
                self._events.defer(catalogue.RegionRefused(profile=key.profile, region=region, cause=error.cause))
            except CredentialRefused as error:
                if not flight.has_asked or not await flight.refused(error):
                    raise
            except UpstreamError as error:
                wait = pause(error, attempt=attempt, limits=self._limits)
                if wait is None:
                    raise
                attempt += 1
                await self._system.sleep(wait)
            else:
                if link := flight.accepted():
                    self._events.defer(catalogue.CredentialAccepted(profile=key.profile, credential=link.id))
                self._report_oddities(key, token)
                return Acquired(token, TokenSource.IDENTITY_PROVIDER)
            region = ""  # after one failure the endpoint that serves every client is asked

    async def _attempt(self, wanted: Wanted, client: Client, region: str, proof: Proof) -> AccessToken:
        return await self._endpoint.ask(
            wanted.key,
            proof,
            client_id=client.client_id,
            request_id=wanted.flight_id,
            claims=claims_to_send(wanted.claims, client.capabilities),
            region=region,
        )

    def _report_rest(self, key: TokenKey, link: Link, error: UpstreamError, seconds: float) -> None:
        """Report that a link rests; another one may serve meanwhile."""
        self._events.defer(
            catalogue.CredentialRests(
                profile=key.profile,
                credential=link.id,
                cause=error.cause,
                remedy=error.remedy,
                trace_id=error.trace_id,
                seconds=round(seconds),
            )
        )

    def _report_unread(self, key: TokenKey, error: UpstreamError) -> None:
        """Report that a credential could not be read again; what was read before serves."""
        self._events.defer(catalogue.CredentialUnread(profile=key.profile, cause=error.cause, remedy=error.remedy))

    def _report_oddities(self, key: TokenKey, token: AccessToken) -> None:
        """Report what is odd about a token that is vended all the same."""
        facts = token.facts
        about = {"profile": key.profile, "tenant_id": key.tenant_id, "scope": key.scope, "token": token.fingerprint}
        if facts.has_roles is False:
            self._events.defer(catalogue.TokenWithoutRoles(cause="consent missing?", **about))
        if facts.scope is not None and facts.scope != key.scope:
            self._events.defer(catalogue.ScopeDiffers(cause="the answer names another scope", **about))
        if facts.audience is not None:
            before = self._audiences.setdefault((key.profile, key.scope), facts.audience)
            if before != facts.audience:
                self._audiences[key.profile, key.scope] = facts.audience
                self._events.defer(catalogue.AudienceChanged(audience=facts.audience, **about))
