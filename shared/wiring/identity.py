"""Settings -> the tokens of the app's own identity: they are cached and refreshed ahead like those of callers."""

from collections.abc import Mapping

from shared.adapters.http import Network
from shared.adapters.own_identity import NAME, ManagedIdentity, SdkCredential
from shared.core.documents.settings import Settings
from shared.core.entra.clouds import STORAGE_SCOPE
from shared.core.token import AccessToken, TokenKey
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache


class OwnIdentity:
    """The app's own identity.

    Args:
        tokens: of the identity, by their scope.
        scopes: those that may be asked for.
    """

    def __init__(self, tokens: TokenCache, *, scopes: frozenset[str]) -> None:
        self.tokens = tokens
        self.credential = SdkCredential(self._token, scopes=scopes)

    async def storage_token(self) -> AccessToken:
        """Return a token for Azure Storage."""
        return await self._token(STORAGE_SCOPE)

    async def _token(self, scope: str) -> AccessToken:
        return (await self.tokens.get(TokenKey(NAME, "", scope))).token


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
    tokens = TokenCache(source.acquire, version=lambda _: "", limits=settings.limits, system=system, events=events)
    return OwnIdentity(tokens, scopes=frozenset({STORAGE_SCOPE, settings.home.vault_scope}))
