"""Access tokens: their claims, their signature, and the checks of a service that receives one.

Source: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
"""

import secrets
from collections.abc import Mapping
from typing import Literal

from emulator.directory.objects import Api, ServicePrincipal, Tenant
from emulator.directory.store import Directory
from emulator.entra.signing import SigningKey

SKEW = 300  # seconds; Microsoft's token validation tolerates this much (JwtSecurityTokenHandler's default)


class AccessTokens:
    """The tokens of one local cloud, signed by one key for the principals of one directory.

    Args:
        directory: the principals, APIs and grants.
        authority: the base URL of Entra.
    """

    def __init__(self, directory: Directory, *, authority: str) -> None:
        self._directory = directory
        self.authority = authority
        self.key = SigningKey()

    def v2_issuer(self, tenant: Tenant) -> str:
        """Return the issuer of v2.0 tokens, which is also the address of their discovery document."""
        return f"{self.authority}/{tenant.id}/v2.0"

    def claims(
        self,
        principal: ServicePrincipal,
        *,
        api: Api,
        resource: str,
        lifetime: int,
        authentication: Literal["1", "2"] = "2",
    ) -> dict[str, object]:
        """Return the claims of an app-only access token of the version that the API asks for; `key` signs them.

        Args:
            principal: that the token is for.
            api: that the token is for.
            resource: the identifier URI by which the client named the API.
            lifetime: in seconds.
            authentication: the `appidacr` claim: "1" for a client secret, "2" for a certificate.

        Raises:
            LookupError: the tenant of the principal is unknown.
        """
        tenant = self._directory.tenant(principal.tenant_id)
        if tenant is None:
            raise LookupError(principal.tenant_id)
        now = int(self._directory.now())
        claims: dict[str, object] = {
            # Entra back-dates both, so that a receiver whose clock is behind accepts the token at once.
            "iat": now - SKEW,
            "nbf": now - SKEW,
            "exp": now + lifetime,
            "aio": secrets.token_urlsafe(24),
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": tenant.id,
            "uti": secrets.token_urlsafe(16),
        }
        if api.token_version == 1:
            claims |= {
                "ver": "1.0",
                "aud": resource,
                "iss": tenant.v1_issuer,
                "idp": tenant.v1_issuer,
                "appid": principal.app_id,
                "appidacr": authentication,
            }
        else:
            claims |= {
                "ver": "2.0",
                "aud": api.app_id,
                "iss": self.v2_issuer(tenant),
                "azp": principal.app_id,
                "azpacr": authentication,
            }
        if api.emits_idtyp:
            claims["idtyp"] = "app"
        if roles := self._directory.roles(principal.object_id, api):
            claims["roles"] = sorted(roles)
        return claims

    def authenticate(self, token: str, *, audience: str, tenant_id: str | None = None) -> str | None:
        """Return the object ID of the principal that a bearer token proves, or None for an invalid token."""
        claims = self.verify(token, audience=audience, tenant_id=tenant_id)
        return str(claims["oid"]) if claims else None

    def verify(self, token: str, *, audience: str, tenant_id: str | None = None) -> Mapping[str, object] | None:
        """Return the claims of a bearer token, or None for an invalid token.

        As in a Microsoft service the signature, the audience, the issuer, the tenant and the dates are checked.
        """
        claims = self.key.verify(token)
        if claims is None:
            return None
        tenant = self._directory.tenant(str(claims.get("tid")))
        if tenant is None or (tenant_id is not None and tenant.id != tenant_id):
            return None
        if claims.get("iss") not in {tenant.v1_issuer, self.v2_issuer(tenant)}:
            return None
        api = self._directory.api(audience)
        asked = claims.get("aud")
        if api is None or not isinstance(asked, str) or self._directory.api(asked) != api:
            return None
        match claims:
            case {"nbf": int(not_before), "exp": int(expires), "oid": str()}:
                return claims if not_before <= self._directory.now() < expires else None
        return None
