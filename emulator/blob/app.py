"""The local Blob Storage: one account whose blobs are read and replaced whole, for tokens of the local Entra.

Shared keys and SAS are off, as in infra/. Source: https://learn.microsoft.com/rest/api/storageservices/get-blob,
.../put-blob, .../authorize-with-azure-active-directory
"""

import re
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from types import MappingProxyType
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.blob import errors
from emulator.refusal import Refusal
from emulator.role_assignments import RoleAssignments

RESOURCE = "https://storage.azure.com"
FIRST_WITH_TOKENS = "2017-11-09"  # earlier versions do not know the scheme Bearer
ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Storage Blob Data Reader": frozenset({"GET", "HEAD"}),
        "Storage Blob Data Contributor": frozenset({"GET", "HEAD", "PUT"}),
    }
)
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class BlobRequest:
    """The record of one request, without its token."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Stored:
    """The present content of one blob."""

    content: bytes = field(repr=False)
    etag: str
    modified: float


class BlobStorage:
    """Serves `app`; `requests` lists every request that reached it, oldest first.

    Args:
        authority: of the challenge.
        tenant_id: of the challenge.
        authenticate: returns the object id that a token for `RESOURCE` proves, or None for an invalid token.
        now: the clock of `Last-Modified`, in seconds since 1970.
        containers: the names of the account's containers.
    """

    def __init__(
        self,
        *,
        authority: str,
        tenant_id: str,
        authenticate: Callable[[str], str | None],
        now: Callable[[], float],
        containers: frozenset[str],
    ) -> None:
        self._challenge = f"Bearer authorization_uri={authority}/{tenant_id}/oauth2/authorize resource_id={RESOURCE}"
        self._authenticate = authenticate
        self._now = now
        self._containers = containers
        self._roles = RoleAssignments(ROLES)
        self._blobs: dict[tuple[str, str], Stored] = {}
        self._answers_to_lose = 0
        self.requests: list[BlobRequest] = []
        path = "/{container}/{blob:path}"
        self.app = Starlette(
            routes=[
                Route(path, self._answering(self._get), methods=["GET"]),
                Route(path, self._answering(self._put), methods=["PUT"]),
            ]
        )

    def assign(self, principal_id: str, role: str) -> None:
        """Assign one of `ROLES` on the account to a principal.

        Raises:
            KeyError: there is no such role.
        """
        self._roles.assign(principal_id, role)

    def unassign(self, principal_id: str, role: str) -> None:
        """Remove a role assignment; the next request is refused, where Azure needs minutes."""
        self._roles.unassign(principal_id, role)

    def write(self, container: str, blob: str, content: bytes, *, age: float = 0) -> str:
        """Store a blob without HTTP, last modified `age` seconds ago, and return its ETag."""
        stored = Stored(content, f'"0x8DE{secrets.token_hex(6).upper()}"', self._now() - age)
        self._blobs[container, blob] = stored
        return stored.etag

    def read(self, container: str, blob: str) -> bytes:
        """Return the content of a blob.

        Raises:
            KeyError: there is no such blob.
        """
        return self._blobs[container, blob].content

    def remove(self, container: str, blob: str) -> None:
        """Delete a blob, if it is there."""
        self._blobs.pop((container, blob), None)

    def lose_answers(self, writes: int) -> None:
        """Do so many of the next writes, and answer each as if its outcome were not known; a switch for tests."""
        self._answers_to_lose = writes

    def _answering(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that authorizes the caller, answers in Azure's form and records the request."""

        async def serve(request: Request) -> Response:
            request_id = str(uuid.uuid4())
            try:
                self._authorize(request)
                answer = await handler(request)
            except Refusal as refusal:
                answer = self._refused(refusal, request_id)
            answer.headers["x-ms-request-id"] = request_id
            answer.headers["x-ms-version"] = request.headers.get("x-ms-version", "2009-09-19")
            self.requests.append(BlobRequest(request.method, request.url.path, answer.status_code))
            return answer

        return serve

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            raise errors.unauthenticated("NoAuthenticationInformation", challenge=self._challenge)
        if scheme.lower() != "bearer":
            raise errors.shared_key_refused()
        version = request.headers.get("x-ms-version", "")
        if version < FIRST_WITH_TOKENS:
            raise errors.version_too_old()
        # No version is of a day to come.
        if not _VERSION.fullmatch(version) or version > datetime.fromtimestamp(self._now(), UTC).date().isoformat():
            raise errors.invalid_header()
        principal = self._authenticate(token)
        if principal is None:
            raise errors.unauthenticated(
                "InvalidAuthenticationInfo",
                challenge=self._challenge,
                detail="Audience or lifetime validation failed.",
            )
        if not self._roles.permit(principal, request.method):
            raise errors.not_authorized()
        if request.path_params["container"] not in self._containers:
            raise errors.container_not_found()

    async def _get(self, request: Request) -> Response:
        stored = self._found(request)
        if stored is None:
            raise errors.blob_not_found()
        if not _matches(request.headers.get("if-match", stored.etag), stored):
            raise errors.condition_not_met()
        headers = _headers(stored) | {"x-ms-blob-type": "BlockBlob", "accept-ranges": "bytes"}
        unwanted = request.headers.get("if-none-match", "")
        if unwanted == "*":
            raise errors.unsatisfiable_condition()
        if _matches(unwanted, stored):
            return Response(status_code=304, headers=headers | {"x-ms-error-code": "ConditionNotMet"})
        # The stock clients ask for a range, whatever the size, and again without one where that is refused.
        asked = _RANGE.fullmatch(request.headers.get("x-ms-range") or request.headers.get("range", ""))
        if asked is None:
            return Response(stored.content, headers=headers, media_type="application/octet-stream")
        if int(asked[1]) >= len(stored.content):
            raise errors.invalid_range(len(stored.content))
        part = stored.content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
        headers["content-range"] = f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(stored.content)}"
        return Response(part, 206, headers=headers, media_type="application/octet-stream")

    async def _put(self, request: Request) -> Response:
        kind = request.headers.get("x-ms-blob-type")
        if kind is None:
            raise errors.missing_header()
        if kind != "BlockBlob":
            raise errors.invalid_header()
        content = await request.body()
        # Nothing is awaited from here on, so that of two writers with one ETag one is refused.
        stored = self._found(request)
        if request.headers.get("if-none-match") == "*" and stored:
            raise errors.blob_exists()
        wanted = request.headers.get("if-match")
        if wanted is not None and not (stored and _matches(wanted, stored)):
            raise errors.condition_not_met()
        self.write(request.path_params["container"], request.path_params["blob"], content)
        written = self._found(request)
        assert written
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            raise errors.timed_out()
        return Response(status_code=201, headers=_headers(written) | {"x-ms-request-server-encrypted": "true"})

    def _found(self, request: Request) -> Stored | None:
        return self._blobs.get((request.path_params["container"], request.path_params["blob"]))

    def _refused(self, refusal: Refusal, request_id: str) -> Response:
        time = datetime.fromtimestamp(self._now(), UTC).isoformat()
        detail = (
            f"<AuthenticationErrorDetail>{escape(refusal.detail)}</AuthenticationErrorDetail>" if refusal.detail else ""
        )
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{refusal.code}</Code>'
            f"<Message>{escape(refusal.message)}\nRequestId:{request_id}\nTime:{time}</Message>{detail}</Error>"
        )
        headers = {"x-ms-error-code": refusal.code, **refusal.headers}
        return Response(body, refusal.status, headers=headers, media_type="application/xml")


def _matches(condition: str, stored: Stored) -> bool:
    """Compare one ETag, which Azure accepts with and without quotes; `*` matches any."""
    return condition == "*" or condition.strip('"') == stored.etag.strip('"')


def _headers(stored: Stored) -> dict[str, str]:
    return {"etag": stored.etag, "last-modified": formatdate(stored.modified, usegmt=True)}
