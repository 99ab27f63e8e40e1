"""The local Blob Storage: one account whose blobs are read, replaced whole or by blocks, and leased.

It takes tokens of the local Entra; shared keys and SAS are off, as in infra/. Source:
https://learn.microsoft.com/rest/api/storageservices/get-blob, .../put-blob, .../put-block, .../put-block-list,
.../lease-blob, .../authorize-with-azure-active-directory
"""

import base64
import binascii
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from types import MappingProxyType
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.blob import errors
from emulator.blob.store import Blobs, Stored
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
_METADATA = "x-ms-meta-"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class BlobRequest:
    """The record of one request, without its token."""

    method: str
    path: str
    status: int
    operation: str = ""  # `comp` of the URL


class BlobStorage:
    """Serves `app`; `requests` lists every request that reached it, oldest first.

    Args:
        authority: of the challenge.
        tenant_id: of the challenge.
        authenticate: returns the object ID that a token for `RESOURCE` proves, or None for an invalid token.
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
        self._container_roles = {container: RoleAssignments(ROLES) for container in containers}
        self._blobs = Blobs(now)
        self._answers_to_lose = 0
        self.requests: list[BlobRequest] = []
        path = "/{container}/{blob:path}"
        self.app = Starlette(
            routes=[
                Route(path, self._answering(self._get), methods=["GET"]),
                Route(path, self._answering(self._change), methods=["PUT"]),
            ]
        )

    def assign(self, principal_id: str, role: str, *, container: str = "") -> None:
        """Assign one of `ROLES` on the account, or on one container, to a principal.

        Raises:
            KeyError: there is no such role or container.
        """
        (self._container_roles[container] if container else self._roles).assign(principal_id, role)

    def unassign(self, principal_id: str, role: str, *, container: str = "") -> None:
        """Remove a role assignment; the next request is refused, where Azure needs minutes."""
        (self._container_roles[container] if container else self._roles).unassign(principal_id, role)

    def write(self, container: str, blob: str, content: bytes, *, age: float = 0) -> str:
        """Store a blob without HTTP, last modified `age` seconds ago, and return its ETag."""
        return self._blobs.write((container, blob), content, age=age).etag

    def read(self, container: str, blob: str) -> bytes:
        """Return the content of a blob.

        Raises:
            KeyError: there is no such blob.
        """
        stored = self._blobs.get((container, blob))
        if stored is None:
            raise KeyError(blob)
        return stored.content

    def remove(self, container: str, blob: str) -> None:
        """Delete a blob, if it is there."""
        self._blobs.remove((container, blob))

    def end_lease(self, container: str, blob: str) -> None:
        """End the lease of a blob at once, whoever holds it."""
        self._blobs.lease((container, blob)).forget()

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
            operation = request.query_params.get("comp", "")
            self.requests.append(BlobRequest(request.method, request.url.path, answer.status_code, operation))
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
        container = request.path_params["container"]
        scopes = [self._roles, *filter(None, [self._container_roles.get(container)])]
        if not any(roles.permit(principal, request.method) for roles in scopes):
            raise errors.not_authorized()
        if container not in self._containers:
            raise errors.container_not_found()

    async def _get(self, request: Request) -> Response:
        stored = self._blobs.get(_place(request))
        if stored is None:
            raise errors.blob_not_found()
        if not _matches(request.headers.get("if-match", stored.etag), stored):
            raise errors.condition_not_met()
        headers = _headers(stored) | {"x-ms-blob-type": "BlockBlob", "accept-ranges": "bytes"}
        headers |= {f"{_METADATA}{name}": value for name, value in stored.metadata.items()}
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

    async def _change(self, request: Request) -> Response:
        match request.query_params.get("comp", ""):
            case "":
                return await self._put(request)
            case "block":
                return await self._put_block(request)
            case "blocklist":
                return await self._put_block_list(request)
            case "lease":
                return self._lease(request)
            case _:
                raise errors.invalid_parameter()

    async def _put(self, request: Request) -> Response:
        kind = request.headers.get("x-ms-blob-type")
        if kind is None:
            raise errors.missing_header()
        if kind != "BlockBlob":
            raise errors.invalid_header()
        content = await request.body()
        # Nothing is awaited from here on, so that of two writers with one ETag one is refused.
        self._check_write(request)
        return self._written(self._blobs.write(_place(request), content, metadata=_metadata(request)))

    async def _put_block(self, request: Request) -> Response:
        block_id = request.query_params.get("blockid")
        if block_id is None:
            raise errors.missing_parameter()
        try:
            base64.b64decode(block_id, validate=True)
        except binascii.Error:
            raise errors.invalid_parameter() from None
        content = await request.body()
        self._check_lease(request)
        self._blobs.put_block(_place(request), block_id, content)
        return Response(status_code=201, headers={"x-ms-request-server-encrypted": "true"})

    async def _put_block_list(self, request: Request) -> Response:
        try:
            listed = [(each.tag, each.text or "") for each in ET.fromstring(await request.body())]  # noqa: S314  # a test's
        except ET.ParseError:
            raise errors.invalid_xml() from None
        self._check_write(request)
        return self._written(self._blobs.commit(_place(request), listed, _metadata(request)))

    def _lease(self, request: Request) -> Response:
        at, now = _place(request), self._now()
        stored = self._blobs.get(at)
        if stored is None:
            raise errors.blob_not_found()
        lease, lease_id = self._blobs.lease(at), request.headers.get("x-ms-lease-id", "")
        status, headers = 200, {"x-ms-lease-id": lease_id}
        match request.headers.get("x-ms-lease-action"):
            case "acquire":
                lease_id = request.headers.get("x-ms-proposed-lease-id") or str(uuid.uuid4())
                lease.acquire(lease_id, _seconds(request, "x-ms-lease-duration"), now=now)
                status, headers = 201, {"x-ms-lease-id": lease_id}
            case "renew":
                lease.renew(lease_id, now=now)
            case "release":
                lease.release(lease_id)
                headers = {}
            case "break":
                period = "x-ms-lease-break-period"
                left = lease.end(_seconds(request, period) if period in request.headers else None, now=now)
                status, headers = 202, {"x-ms-lease-time": str(left)}
            case None:
                raise errors.missing_header()
            case _:
                raise errors.invalid_header()
        return Response(status_code=status, headers=_headers(stored) | headers)

    def _check_write(self, request: Request) -> None:
        """Refuse a write whose conditions the blob does not meet."""
        stored = self._blobs.get(_place(request))
        if request.headers.get("if-none-match") == "*" and stored:
            raise errors.blob_exists()
        wanted = request.headers.get("if-match")
        if wanted is not None and not (stored and _matches(wanted, stored)):
            raise errors.condition_not_met()
        self._check_lease(request)

    def _check_lease(self, request: Request) -> None:
        lease = self._blobs.lease(_place(request))
        lease.check_write(request.headers.get("x-ms-lease-id", ""), now=self._now())

    def _written(self, stored: Stored) -> Response:
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            raise errors.timed_out()
        return Response(status_code=201, headers=_headers(stored) | {"x-ms-request-server-encrypted": "true"})

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


def _place(request: Request) -> tuple[str, str]:
    """Return the container and the name of a blob."""
    return request.path_params["container"], request.path_params["blob"]


def _metadata(request: Request) -> dict[str, str]:
    return {
        name.removeprefix(_METADATA): value for name, value in request.headers.items() if name.startswith(_METADATA)
    }


def _seconds(request: Request, name: str) -> int:
    """Return a header that is a whole number.

    Raises:
        Refusal: it is missing, or no number.
    """
    value = request.headers.get(name)
    if value is None:
        raise errors.missing_header()
    if not re.fullmatch(r"-1|\d{1,9}", value, re.ASCII):
        raise errors.invalid_header()
    return int(value)
