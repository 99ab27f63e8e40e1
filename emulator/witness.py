"""Notices a secret that arrives at a part of the cloud that it is not for.

A client that is led astray, by a document, a redirect or a link, notices nothing itself. The part where a token arrives
knows for which service the token is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator import base64url

HEADERS = ("authorization", "x-identity-header", "x-functions-key")
FIELDS = ("client_assertion", "client_secret", "proof")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"

type Belongs = Mapping[str, Callable[[str, str], bool]]
"""By header or field, whether a value may arrive at a path; one that is not listed never may."""


class MisdirectedSecretWarning(UserWarning):
    """A part of a local cloud received a secret that is not for it."""


@dataclass(frozen=True)
class Misdirected:
    """The record of a secret that arrived at the wrong part, without the secret."""

    part: str
    name: str
    path: str


class Witness:
    """ASGI middleware: reports each secret that does not belong to a part, and passes every request on.

    Args:
        app: the part.
        part: its name.
        belongs: the secrets that are for it.
        report: called with each other one.
    """

    def __init__(self, app: ASGIApp, *, part: str, belongs: Belongs, report: Callable[[Misdirected], None]) -> None:
        self._app = app
        self._part = part
        self._belongs = belongs
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        media = request.headers.get("content-type", "")
        fields: Mapping[str, object] = {}
        if media.startswith((FORM, JSON)):
            try:
                body = await request.body()
            except ClientDisconnect:
                return
            receive = _replayed(body, receive)
            fields = _form(body) if media.startswith(FORM) else _document(body)
        for name, value in _secrets(request, fields):
            if not self._belongs.get(name, _never)(value, request.url.path):
                self._report(Misdirected(self._part, name, request.url.path))
        await self._app(scope, receive, send)


def audience_of(token: str) -> str:
    """Return the audience that a JWT names, whether or not it is valid; "" for anything else."""
    try:
        claims = json.loads(base64url.decode(token.removeprefix("Bearer ").split(".")[1]))
        return str(claims["aud"])
    except (LookupError, ValueError, TypeError):
        return ""


def _form(body: bytes) -> Mapping[str, object]:
    return dict(parse_qsl(body.decode("latin-1")))


def _document(body: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _secrets(request: Request, fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name in HEADERS:
        if name in request.headers:
            yield name, request.headers[name]
    for name in FIELDS:
        if name in fields:
            yield name, str(fields[name])


def _never(_value: str, _path: str) -> bool:
    return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body that was read already."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
