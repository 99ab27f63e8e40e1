"""The entrance of the local vault: what is checked and marked on every request, whatever its address."""

import re
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import jwt
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.bearer import bearer_token
from emulator.refusal import Refusal
from emulator.vault.errors import Closure, bad_parameter, body, closed_to_caller, unauthenticated

API_VERSIONS = {"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"}


class Door:
    """ASGI middleware: checks token, network and api-version before the address; sets the headers of every response.

    `request.state.principal` is the object ID of the caller.

    Attributes:
        closed: why the network keeps every caller out, or None; a test may set it at any time.

    Args:
        inside: the application behind.
        authenticate: returns the object ID that a token proves, or None for an invalid token.
        authority: with the tenant, of the challenge.
        resource: of the challenge, and the audience that tokens must have.
    """

    def __init__(
        self, inside: ASGIApp, *, authenticate: Callable[[str], str | None], authority: str, resource: str
    ) -> None:
        self._inside = inside
        self._authenticate = authenticate
        self._challenge = f'Bearer authorization="{authority}", resource="{resource}"'
        self._resource = resource
        self.closed: Closure | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["cache-control"] = "no-cache"
                headers["x-content-type-options"] = "nosniff"
                headers["x-ms-keyvault-region"] = "local"
                headers["x-ms-request-id"] = str(uuid.uuid4())
            await send(message)

        # The SDKs write an empty segment for the latest version: `/certificates/vend/`.
        scope["path"] = re.sub("/+", "/", scope["path"]).rstrip("/") or "/"
        application = self._inside
        try:
            self._check(Request(scope))
        except Refusal as refusal:
            application = refused(refusal)
        await application(scope, receive, send_marked)

    def _check(self, request: Request) -> None:
        token = bearer_token(request)
        if not token:
            message = "AKV10000: Request is missing a Bearer or PoP token."
            raise unauthenticated(message, challenge=self._challenge)
        principal = self._authenticate(token)
        if principal is None:
            raise unauthenticated(self._mistake(token), challenge=self._challenge)
        request.state.principal = principal
        if self.closed:
            host = urlsplit(str(request.url)).hostname or ""
            vault = f"{host.partition('.')[0]};location=local"
            raise closed_to_caller(self.closed, caller=_caller(token, principal), vault=vault)
        api_version = request.query_params.get("api-version", "")
        if not api_version:
            raise bad_parameter("The api-version query parameter must be specified.")
        if api_version not in API_VERSIONS:
            raise bad_parameter(f"The specified version ({api_version}) is not recognized.")

    def _mistake(self, token: str) -> str:
        """Return the text for a token that was not accepted: one for another service is told so."""
        audience = _unverified(token).get("aud")
        if isinstance(audience, str) and audience.removesuffix("/") != self._resource:
            return f"AKV10022: Invalid audience. Expected {self._resource}, found: {audience}."
        return "[BearerReadAccessTokenFailed] Error validating token: 'S2S17000'."


def refused(refusal: Refusal) -> Response:
    """Return a refusal as the vault sends it."""
    return JSONResponse(body(refusal), refusal.status, headers=refusal.headers)


def _caller(token: str, principal: str) -> str:
    claims = _unverified(token)
    facts = {"appid": claims.get("appid"), "oid": principal, "iss": claims.get("iss")}
    return ";".join(f"{name}={value}" for name, value in facts.items() if value)


def _unverified(token: str) -> Mapping[str, object]:
    try:
        claims: Mapping[str, object] = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
    return claims
