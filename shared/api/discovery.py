"""`GET /api/entra/{tenant}/v2.0/.well-known/openid-configuration`: what MSAL asks an authority first.

The answer is made of the URL alone, so it confirms neither a tenant nor anything else to a stranger.
https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
"""

from shared.api.answers import Answer, report_answer
from shared.api.reports import report
from shared.api.routes import tenant_of
from shared.core.errors import VendError
from shared.core.request import Incoming
from shared.system import System
from shared.telemetry.events import Events

ROUTE = "entra/{tenant}/v2.0/.well-known/openid-configuration"


class Discovery:
    """Answers for the authority that `/api/entra/{tenant}` is to clients of Entra.

    Args:
        refusal: why this route is closed, with the others whose keys the host does not check; None where it is open.
        system: correlation ids.
        events: what background work has left; a request leaves no line of its own.
    """

    def __init__(self, *, refusal: type[VendError] | None, system: System, events: Events) -> None:
        self._refusal = refusal
        self._new_id = system.new_id
        self._events = events

    async def answer(self, incoming: Incoming) -> Answer:
        """Answer one request."""

        async def write(_correlation_id: str) -> Answer:
            if self._refusal:
                raise self._refusal
            # Its clients speak to https alone; behind a front end that ends TLS the app sees http.
            place = incoming.url.partition("://")[2].partition("/entra/")[0]
            authority = f"https://{place}/entra/{tenant_of(incoming)}"
            return report_answer(_metadata(authority), not_before=None)

        return await report(incoming, write, correlation_id=self._new_id(), events=self._events)


def _metadata(authority: str) -> dict[str, object]:
    """Return the members without which MSAL refuses the document; of the endpoints vend has that for tokens alone."""
    endpoint = f"{authority}/oauth2/v2.0"
    return {
        "issuer": f"{authority}/v2.0",
        "token_endpoint": f"{endpoint}/token",
        "authorization_endpoint": f"{endpoint}/authorize",
        "jwks_uri": f"{authority}/discovery/v2.0/keys",
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    }
