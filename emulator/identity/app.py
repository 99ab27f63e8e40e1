"""The local managed-identity endpoint of App Service: tokens for processes that know the header of their host.

Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference. It never
answers 404, which the SDKs would take for "not there yet" and retry. Unknown parameters are ignored.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.objects import ManagedIdentity
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.entra.asked_claims import read_claims
from emulator.refusal import Refusal

PATH = "/msi/token"
API_VERSION = "2019-08-01"
SELECTORS = ("client_id", "principal_id", "object_id", "mi_res_id")
LIFETIME = 86400  # seconds


@dataclass(frozen=True)
class IdentityRequest:
    """The record of one request that named an identity, without its header and token.

    `claims`, `capabilities` and `refused_digest` are the parameters `claims`, `xms_cc` and `token_sha256_to_refresh` as
    they were sent.
    """

    time: float
    client_id: str
    resource: str
    claims: str = ""
    capabilities: str = ""
    refused_digest: str = ""


@dataclass(frozen=True)
class Kept:
    """A token that App Service gives out again; times are in epoch seconds."""

    text: str
    issued: int


class ManagedIdentityEndpoint:
    """Serves `app`; a request finds only the identities whose header it carries.

    `requests` lists the requests that named an identity, oldest first.

    Attributes:
        caches: gives one token per identity, resource, claims and capabilities out until it ends, as App Service does,
            unless the request names its digest. A test may set it at any time.
    """

    def __init__(self, directory: Directory, tokens: AccessTokens) -> None:
        self._directory = directory
        self._tokens = tokens
        self._kept: dict[IdentityRequest, Kept] = {}
        self.caches = False
        self.requests: list[IdentityRequest] = []
        self.app = Starlette(routes=[Route(PATH, self._token, methods=["GET"])], exception_handlers={Refusal: _refused})

    async def _token(self, request: Request) -> Response:
        presented = request.headers.get("x-identity-header", "").encode()
        mine = [i for i in self._directory.identities() if hmac.compare_digest(i.header.encode(), presented)]
        if not mine:
            raise Refusal(401, "The X-IDENTITY-HEADER header is missing or wrong.")
        query = dict(request.query_params.multi_items())
        if len(query) != len(request.query_params.multi_items()):
            raise _bad_request("A query parameter is repeated.")
        if query.get("api-version") != API_VERSION:
            raise _bad_request(f"The api-version must be {API_VERSION}.")
        identity = _selected(mine, query)
        if not query.get("resource"):
            raise _bad_request("The resource parameter is missing.")
        asked = IdentityRequest(
            self._directory.now(),
            identity.client_id,
            query["resource"],
            claims=query.get("claims", ""),
            capabilities=query.get("xms_cc", ""),
            refused_digest=query.get("token_sha256_to_refresh", ""),
        )
        self.requests.append(asked)
        token = self._kept_or_new(identity, asked)
        return JSONResponse(
            {
                "access_token": token.text,
                "expires_on": str(token.issued + LIFETIME),
                "not_before": str(token.issued),
                "resource": asked.resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            }
        )

    def _kept_or_new(self, identity: ManagedIdentity, asked: IdentityRequest) -> Kept:
        place = replace(asked, time=0, refused_digest="")
        kept = self._kept.get(place)
        if self.caches and kept and asked.time < kept.issued + LIFETIME:
            digest = hashlib.sha256(kept.text.encode()).hexdigest()
            if digest != asked.refused_digest:
                return kept
        self._kept[place] = token = self._new(identity, asked)
        return token

    def _new(self, identity: ManagedIdentity, asked: IdentityRequest) -> Kept:
        """Return a new token.

        Raises:
            Refusal: Entra issues none, of which App Service tells no more than that.
        """
        api = self._directory.api(asked.resource)
        principal = self._directory.service_principal(identity.client_id, tenant_id=identity.tenant_id)
        if api is None or principal is None or not principal.enabled:
            raise _no_token()
        claims = self._tokens.claims(principal, api=api, resource=asked.resource, lifetime=LIFETIME)
        now = int(asked.time)
        for text in (asked.claims, _as_claims(asked.capabilities)):
            if text:
                try:
                    claims = read_claims(text).stated(claims, now=now)
                except Refusal:
                    raise _no_token() from None
        return Kept(self._tokens.key.sign(claims), now)


def _as_claims(capabilities: str) -> str:
    """Write capabilities, separated by commas, as the `claims` parameter of Entra."""
    if not capabilities:
        return ""
    return json.dumps({"access_token": {"xms_cc": {"values": capabilities.split(",")}}})


def _selected(identities: Iterable[ManagedIdentity], query: Mapping[str, str]) -> ManagedIdentity:
    """Return the identity that one selector names, or without a selector the system-assigned one."""
    selectors = [(name, query[name]) for name in SELECTORS if name in query]
    for identity in identities:
        own = {"client_id": identity.client_id, "mi_res_id": identity.resource_id}
        match selectors:
            case [] if identity.system_assigned:
                return identity
            case [(name, wanted)] if own.get(name, identity.principal_id) == wanted:
                return identity
    raise _bad_request(
        "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
    )


def _bad_request(message: str) -> Refusal:
    return Refusal(400, message)


def _no_token() -> Refusal:
    return Refusal(500, "An unexpected error occured while fetching the AAD Token.")  # sic


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    body = {"statusCode": refusal.status, "message": refusal.message, "correlationId": str(uuid.uuid4())}
    return JSONResponse(body, status_code=refusal.status)
