"""The request for a token with client credentials.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from collections.abc import Mapping
from urllib.parse import urlencode


def token_request(*, client_id: str, scope: str, proof: Mapping[str, str], claims: str | None) -> bytes:
    """Return the form that asks for a token (RFC 6749 section 4.4.2).

    Args:
        client_id: the app registration.
        scope: exactly one `resource/.default`.
        proof: the fields by which the client proves itself.
        claims: canonical JSON, or None.
    """
    fields = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope, **proof}
    if claims is not None:
        fields["claims"] = claims
    return urlencode(fields).encode()
