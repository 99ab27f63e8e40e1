"""Settings -> the tokens of the app's own identity: they are cached and refreshed ahead like those of callers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from shared.adapters.http import Network
from shared.adapters.own_identity import NAME, GetToken, ManagedIdentity
from shared.core.documents.settings import Settings
from shared.core.entra.clouds import STORAGE_SCOPE
from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.retry import pause
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache
from shared.tokens.reports import identity_failed

FAILURE_MAX_SECONDS = 60.0
"""How long its failure is remembered at the most. Whoever waits for it, Entra's flights or a check of the callers
document, remembers the failure too, and both waits add up."""


_WAITS = ("failure_first_seconds", "failure_max_seconds", "failure_permanent_seconds", "retry_after_cap_seconds")


class OwnIdentity:
    """The app's own identity.

    Args:
        tokens: of the identity, by their scope.
        scopes: those that may be asked for.
    """

    def __init__(self, tokens: TokenCache, *, scopes: frozenset[str]) -> None:
        self.tokens = tokens
        self._scopes = scopes

    async def exchange_token(self, claims: str | None, *, refused: str | None) -> str:
        """Return a token for a federated credential, which proves a client.

        The cached token counts as rejected if Entra has refused it. The endpoint of an identity takes no claims: with
        the claims of a challenge, the cached token counts as rejected too, so that no revoked one is used again. If no
        other token can be acquired, the cached one is returned all the same.
        """
        (scope,) = self._scopes
        key = TokenKey(NAME, "", scope)
        found = await self.tokens.get(key)
        if found.source is TokenSource.CACHE and (claims is not None or found.token.sha256 == refused):
            found = await self.tokens.get(key, rejected=found.token.sha256)
        return found.token.secret

    def tokens_for(self, scope: str) -> GetToken:
        """Return what returns the tokens for a scope."""
        assert scope in self._scopes
        key = TokenKey(NAME, "", scope)

        async def get(rejected: str | None) -> AccessToken:
            return (await self.tokens.get(key, rejected=rejected)).token

        return get


def build_identity(
    settings: Settings, environ: Mapping[str, str], *, network: Network, system: System, events: Events
) -> OwnIdentity:
    """Return the app's own identity.

    Args:
        settings: without mistakes.
        environ: the app settings, read at each call.
        network: makes the way to the endpoint of the identity.
        system: clocks and chance.
        events: where failures are reported.
    """
    source = ManagedIdentity(settings.identity_client_id, environ=environ, network=network, clock=system.clock)
    scopes = frozenset({STORAGE_SCOPE, settings.home.vault_scope})
    if settings.sync is not None and settings.sync.address is not None:
        scopes |= {settings.home.database_scope}
    return _identity(source, scopes, limits=settings.limits, system=system, events=events)


def build_federated(
    settings: Settings, environ: Mapping[str, str], *, network: Network, system: System, events: Events
) -> Callable[[str], OwnIdentity]:
    """Return what returns an identity of the app by its client ID, for the tokens that a federated credential takes.

    Arguments as in `build_identity`.
    """

    @cache
    def identity(client_id: str) -> OwnIdentity:
        source = ManagedIdentity(client_id, environ=environ, network=network, clock=system.clock)
        scopes = frozenset({f"{settings.home.token_exchange_audience}/.default"})
        return _identity(source, scopes, limits=settings.limits, system=system, events=events)

    return identity


def _identity(
    source: ManagedIdentity,
    scopes: frozenset[str],
    *,
    limits: Limits,
    system: System,
    events: Events,
) -> OwnIdentity:
    tokens = TokenCache(
        _Persistent(source, limits=limits, system=system).acquire,
        version=lambda _: "",
        limits=replace(limits, **{name: min(getattr(limits, name), FAILURE_MAX_SECONDS) for name in _WAITS}),
        system=system,
        events=events,
        report=identity_failed,
    )
    return OwnIdentity(tokens, scopes=scopes)


class _Persistent:
    """Asks a second time after a failure that may pass, so that one bad answer reaches nobody.

    During an outage of a scope it asks once: each flight would otherwise be two requests to an endpoint that is down. A
    refusal is no outage.
    """

    def __init__(self, source: ManagedIdentity, *, limits: Limits, system: System) -> None:
        self._source = source
        self._limits = limits
        self._sleep = system.sleep
        self._failing: set[str] = set()  # the scopes whose last flight failed by what may pass

    async def acquire(self, wanted: Wanted) -> Acquired:
        attempt, scope = 1, wanted.key.scope
        was_failing = scope in self._failing
        while True:
            self._failing.discard(scope)
            try:
                return await self._source.acquire(wanted)
            except UpstreamError as error:
                if error.retryable:
                    self._failing.add(scope)
                wait = pause(error, attempt=attempt, limits=self._limits)
                if wait is None or was_failing:
                    raise
            attempt += 1
            await self._sleep(wait)
