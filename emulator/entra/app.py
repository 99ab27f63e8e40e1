"""The local Entra: discovery, signing keys and the token endpoint for client credentials, and nothing else of it.

It refuses what Entra refuses, with Entra's numbers. Source of the flow:
learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.store import Application, Directory, Principal, Tenant
from emulator.entra import assertion, token_form
from emulator.entra.assertion import Proof
from emulator.entra.errors import RefusedError
from emulator.entra.token_form import Demand

NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "Expires": "-1"}


@dataclass(frozen=True)
class TokenRequest:
    """What is remembered of one token request: never a secret, an assertion or a token.

    `claims` is the parameter as it was sent, `code` the AADSTS number of a refusal, `proof` what is known of an
    assertion that was accepted.
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
    """What an issued token and its answer say in place of the truth; None leaves a member out.

    A number may be one that JSON does not have: it is written as Python writes it, `NaN` for instance.
    """

    claims: Mapping[str, object] = field(default_factory=dict)
    answer: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


HONEST = Forgery()


class Entra:
    """Serves `app`; `requests` lists every token request that reached it, oldest first.

    A test may set `forgery` to have every token that is issued lie; the signature is good all the same.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
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
            exception_handlers={RefusedError: self._refusal},
        )

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Count the token requests by tenant, client id and scope, as they were asked."""
        return Counter((request.tenant, request.client_id, request.scope) for request in tuple(self.requests))

    async def _discovery_v2(self, request: Request) -> Response:
        tenant = self._tenant(request)
        return self._metadata(tenant, issuer=self._directory.v2_issuer(tenant), version="/v2.0")

    async def _discovery_v1(self, request: Request) -> Response:
        tenant = self._tenant(request)
        return self._metadata(tenant, issuer=tenant.v1_issuer, version="")

    def _metadata(self, tenant: Tenant, *, issuer: str, version: str) -> Response:
        base = f"{self._directory.authority}/{tenant.id}"
        return JSONResponse(
            {
                "issuer": issuer,
                "token_endpoint": f"{base}/oauth2{version}/token",
                # MSAL insists on its presence; nobody signs in here.
                "authorization_endpoint": f"{base}/oauth2{version}/authorize",
                "jwks_uri": f"{base}/discovery{version}/keys",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _keys(self, request: Request) -> Response:
        self._tenant(request)
        return JSONResponse(self._directory.key.public_keys())

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
            application = self._application(demand, tenant)
            proof = self._authenticate(demand, application, tenant)
            seen = replace(seen, proof=proof)
            answer = self._issue(demand, application, tenant, proof)
        except RefusedError as refusal:
            seen = replace(seen, code=refusal.code)
            raise
        finally:
            self.requests.append(seen)
        return answer

    def _check_host(self, host: str) -> None:
        """Refuse what came to `<region>.<host of the authority>`."""
        home = urlsplit(self._directory.authority).hostname or ""
        if host.endswith(f".{home}") and not self._directory.regional:
            raise RefusedError(100007, host=home)

    def _tenant(self, request: Request) -> Tenant:
        name: str = request.path_params["tenant"]
        if tenant := self._directory.tenant(name):
            return tenant
        raise RefusedError(90002, tenant=name)

    def _application(self, demand: Demand, tenant: Tenant) -> Application:
        application = self._directory.application(demand.client_id)
        if application is None:
            raise RefusedError(700016, client_id=demand.client_id, tenant=tenant.id)
        if application.disabled:
            raise RefusedError(7000112, client_id=demand.client_id, client=application.name)
        return application

    def _authenticate(self, demand: Demand, application: Application, tenant: Tenant) -> Proof | None:
        now = self._directory.now()
        if demand.assertion is not None:
            base = f"{self._directory.authority}/{tenant.id}"
            return assertion.verify(
                demand.assertion,
                client_id=application.client_id,
                audiences={f"{base}/oauth2/v2.0/token", f"{base}/v2.0"},
                certificates=application.certificates.values(),
                now=now,
            )
        if demand.secret is None:
            raise RefusedError(7000218)
        matching = [known for known in application.client_secrets.values() if known.equals(demand.secret)]
        if not matching:
            raise RefusedError(7000215, client_id=application.client_id)
        if all(known.not_after <= now for known in matching):
            raise RefusedError(7000222, client_id=application.client_id)
        return None

    def _issue(self, demand: Demand, application: Application, tenant: Tenant, proof: Proof | None) -> Response:
        object_id = application.principals.get(tenant.id)
        if object_id is None:
            raise RefusedError(7000229, client_id=application.client_id, tenant=tenant.id)
        api = self._directory.api(demand.resource)
        if api is None:
            raise RefusedError(500011, resource=demand.resource, tenant=tenant.id)
        if api.assignment_required and not self._directory.roles(object_id, api):
            raise RefusedError(
                501051, client_id=application.client_id, client=application.name, app_id=api.app_id, api=api.name
            )
        lifetime, refresh_in = self._directory.token_lifetime, self._directory.refresh_in
        if demand.claims.long_lived:
            lifetime, refresh_in = self._directory.long_lifetime, self._directory.long_lifetime // 2
        claims = self._directory.claims(
            Principal(application.client_id, object_id, authentication="2" if proof else "1"),
            tenant=tenant,
            api=api,
            resource=demand.resource,
            lifetime=lifetime,
        )
        claims = demand.claims.stated(claims, now=int(self._directory.now()))
        forgery = self.forgery
        answer: dict[str, object] = {
            "token_type": "Bearer",
            # Entra rounds down what is left of the hour.
            "expires_in": lifetime - 1,
            "ext_expires_in": lifetime - 1,
            "access_token": self._directory.key.sign(_forged(claims, forgery.claims)),
        }
        if refresh_in is not None:
            answer["refresh_in"] = refresh_in
        text = json.dumps(_forged(answer, forgery.answer))  # JSONResponse refuses NaN
        return Response(text, headers={**NO_STORE, **forgery.headers}, media_type="application/json")

    async def _refusal(self, request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, RefusedError)
        body = refusal.body(
            authority=self._directory.authority,
            correlation_id=_correlation_id(request.headers.get("client-request-id", "")),
            now=self._directory.now(),
        )
        return JSONResponse(body, status_code=refusal.meaning.status, headers=NO_STORE)


def _forged(truth: Mapping[str, object], lies: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**truth, **lies}.items() if name not in lies or value is not None}


def _correlation_id(offered: str) -> str:
    """Take over the client's own id when it is a GUID, as Entra does, else make one."""
    try:
        return str(uuid.UUID(offered))
    except ValueError:
        return str(uuid.uuid4())
