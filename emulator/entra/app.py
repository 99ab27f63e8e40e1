"""The local Entra: discovery, signing keys, and the token endpoint for client credentials.

It refuses what Entra refuses, with the same AADSTS numbers. Source of the flow:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.objects import Application, ServicePrincipal, Tenant
from emulator.directory.store import Directory
from emulator.entra import errors, token_form
from emulator.entra.access_tokens import AccessTokens
from emulator.entra.assertion import Proof
from emulator.entra.clients import Clients
from emulator.entra.discovery import metadata
from emulator.entra.errors import aadsts
from emulator.entra.token_form import Demand
from emulator.refusal import Refusal

LONG_LIFETIME = 86400  # seconds; of tokens for clients that handle claims challenges
NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "Expires": "-1"}


@dataclass(frozen=True)
class TokenRequest:
    """The record of one token request, without secret, assertion or token.

    `claims` is the parameter as it was sent, `code` the AADSTS number of a refusal, `proof` describes an assertion that
    was accepted.
    """

    time: float
    host: str
    path: str
    tenant: str
    client_id: str = ""
    scope: str = ""
    claims: str = ""
    code: int | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class Forgery:
    """False members of an issued token and of its response; None removes a member.

    A number that JSON does not have is written as Python writes it, such as `NaN`.
    """

    claims: Mapping[str, object] = field(default_factory=dict)
    answer: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


HONEST = Forgery()


class Entra:
    """Serves `app`; `requests` lists every token request that reached it, oldest first.

    Attributes that a test may set at any time:
        token_lifetime: of ordinary tokens, in seconds.
        refresh_in: in seconds; None leaves it out, as Entra does for ordinary app tokens.
        regional: opens the regional endpoints, which Entra keeps for Microsoft's own services.
        forgery: false members of every token and response; the signature stays valid.
        clients.single_use: accepts each assertion once.
    """

    def __init__(self, directory: Directory, tokens: AccessTokens) -> None:
        self._directory = directory
        self._tokens = tokens
        self.clients = Clients(directory, tokens)
        self.token_lifetime = 3600
        self.refresh_in: int | None = None
        self.regional = False
        self.forgery = HONEST
        self.requests: list[TokenRequest] = []
        self.app = Starlette(
            routes=[
                Route("/{tenant}/v2.0/.well-known/openid-configuration", self._discovery_v2),
                Route("/{tenant}/.well-known/openid-configuration", self._discovery_v1),
                Route("/{tenant}/discovery/v2.0/keys", self._keys),
                Route("/{tenant}/discovery/keys", self._keys),
                Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            ],
            exception_handlers={Refusal: self._refused},
        )

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Count the token requests by tenant, client ID and scope, as they were sent."""
        return Counter((request.tenant, request.client_id, request.scope) for request in tuple(self.requests))

    async def _discovery_v2(self, request: Request) -> Response:
        return self._metadata(request, version="/v2.0")

    async def _discovery_v1(self, request: Request) -> Response:
        return self._metadata(request, version="")

    def _metadata(self, request: Request, *, version: Literal["", "/v2.0"]) -> Response:
        tenant = self._tenant(request, error="invalid_tenant")
        issuer = self._tokens.v2_issuer(tenant) if version else tenant.v1_issuer
        document = metadata(issuer=issuer, base=f"{self._tokens.authority}/{tenant.id}", version=version)
        return JSONResponse(document)

    async def _keys(self, request: Request) -> Response:
        self._tenant(request)
        return JSONResponse(self._tokens.key.public_keys())

    async def _token(self, request: Request) -> Response:
        host = request.url.hostname or ""
        seen = TokenRequest(self._directory.now(), host, request.url.path, request.path_params["tenant"])
        try:
            self._check_host(host)
            fields = token_form.read(await request.body(), content_type=request.headers.get("content-type", ""))
            seen = replace(
                seen,
                client_id=fields.get("client_id", ""),
                scope=fields.get("scope", ""),
                claims=fields.get("claims", ""),
            )
            tenant = self._tenant(request)
            demand = token_form.understand(fields, authorization=request.headers.get("authorization", ""))
            seen = replace(seen, client_id=demand.client_id)
            application, principal = self._client(demand, tenant)
            proof = self.clients.authenticate(demand, application, tenant)
            seen = replace(seen, proof=proof)
            if principal is None:
                raise aadsts(7000229, client_id=application.client_id, tenant=tenant.id)
            answer = self._issue(demand, application, principal, tenant, proof)
        except Refusal as refusal:
            seen = replace(seen, code=int(refusal.code) if refusal.code else None)
            raise
        finally:
            self.requests.append(seen)
        return answer

    def _check_host(self, host: str) -> None:
        """Refuse a request to `<region>.<host of the authority>`, unless regional endpoints are open."""
        home = urlsplit(self._tokens.authority).hostname or ""
        if host.endswith(f".{home}") and not self.regional:
            raise aadsts(100007, host=home)

    def _tenant(self, request: Request, *, error: str = "") -> Tenant:
        """Return the tenant of the path; `error` is the word of the refusal where it is not the usual one."""
        name: str = request.path_params["tenant"]
        if tenant := self._directory.tenant(name):
            return tenant
        raise aadsts(90002, error=error, tenant=name)

    def _client(self, demand: Demand, tenant: Tenant) -> tuple[Application, ServicePrincipal | None]:
        """Return the application and its service principal; Entra reports a missing one only after the proof."""
        application = self._directory.application(demand.client_id)
        if application is None:
            raise aadsts(700016, client_id=demand.client_id, tenant=tenant.display_name)
        principal = self._directory.service_principal(application.client_id, tenant_id=tenant.id)
        if principal and not principal.enabled:
            raise aadsts(7000112, client_id=demand.client_id, client=application.name)
        return application, principal

    def _issue(
        self,
        demand: Demand,
        application: Application,
        principal: ServicePrincipal,
        tenant: Tenant,
        proof: Proof | None,
    ) -> Response:
        api = self._directory.api(demand.resource)
        if api is None:
            raise aadsts(500011, resource=demand.resource, tenant=tenant.display_name)
        if api.assignment_required and not self._directory.roles(principal.object_id, api):
            raise aadsts(
                501051, client_id=application.client_id, client=application.name, app_id=api.app_id, api=api.name
            )
        lifetime, refresh_in = self.token_lifetime, self.refresh_in
        if demand.claims.long_lived:
            lifetime, refresh_in = LONG_LIFETIME, LONG_LIFETIME // 2
        claims = self._tokens.claims(
            principal,
            api=api,
            resource=demand.resource,
            lifetime=lifetime,
            authentication="2" if proof else "1",
        )
        claims = demand.claims.stated(claims, now=int(self._directory.now()))
        forgery = self.forgery
        answer: dict[str, object] = {
            "token_type": "Bearer",
            # Entra rounds down what is left of the hour.
            "expires_in": lifetime - 1,
            "ext_expires_in": lifetime - 1,
            "access_token": self._tokens.key.sign(_forged(claims, forgery.claims)),
        }
        if refresh_in is not None:
            answer["refresh_in"] = refresh_in
        text = json.dumps(_forged(answer, forgery.answer))  # JSONResponse refuses NaN
        return Response(text, headers={**NO_STORE, **forgery.headers}, media_type="application/json")

    async def _refused(self, request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refusal)
        body = errors.body(
            refusal,
            authority=self._tokens.authority,
            correlation_id=_correlation_id(request.headers.get("client-request-id", "")),
            now=self._directory.now(),
        )
        return JSONResponse(body, status_code=refusal.status, headers=NO_STORE)


def _forged(truth: Mapping[str, object], lies: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**truth, **lies}.items() if name not in lies or value is not None}


def _correlation_id(offered: str) -> str:
    """Return the client's own id if it is a GUID, as Entra does, else a new one."""
    try:
        return str(uuid.UUID(offered))
    except ValueError:
        return str(uuid.uuid4())
