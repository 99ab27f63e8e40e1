"""The Azure SDKs' way out: an `Upstream` in the form of a transport of azure-core.

The SDKs' async clients take it in place of aiohttp's, so that what they send is bounded like everything else.
https://learn.microsoft.com/python/api/azure-core/azure.core.pipeline.transport.asynchttptransport
"""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from http import HTTPStatus
from typing import Any, Self

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.core.utils import CaseInsensitiveDict

from shared.adapters.http import Upstream
from shared.core.reply import Reply


class SdkTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """A transport that belongs to no client: a client that is closed leaves it open.

    Args:
        upstream: sends the requests.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def send(self, request: HttpRequest, **_: Any) -> "SdkResponse":  # noqa: ANN401  # the SDK's options
        """Send a request; the errors are those of `Upstream.send`, which no policy of the SDK repeats."""
        content = request.content or b""
        reply = await self._upstream.send(
            request.method,
            request.url,
            headers={name.lower(): value for name, value in request.headers.items()},
            content=content.encode() if isinstance(content, str) else bytes(content),
        )
        return SdkResponse(request, reply)

    async def open(self) -> None:
        """Do nothing: the upstream opens connections as it needs them."""

    async def close(self) -> None:
        """Do nothing: the runtime owns the upstream."""

    async def sleep(self, duration: float) -> None:
        """Wait, for the SDK's retry policy."""
        await asyncio.sleep(duration)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: as `close`."""


class SdkResponse(AsyncHttpResponse):
    """An answer that was read whole."""

    def __init__(self, request: HttpRequest, reply: Reply) -> None:
        self._request = request
        self._reply = reply
        self._encoding: str | None = None
        self._headers: MutableMapping[str, str] = CaseInsensitiveDict(reply.headers)

    @property
    def request(self) -> HttpRequest:
        """The request."""
        return self._request

    @property
    def status_code(self) -> int:
        """The status code."""
        return self._reply.status

    @property
    def headers(self) -> MutableMapping[str, str]:
        """The headers; names in any case."""
        return self._headers

    @property
    def reason(self) -> str:
        """The usual phrase of the status code."""
        try:
            return HTTPStatus(self._reply.status).phrase
        except ValueError:
            return ""

    @property
    def content_type(self) -> str | None:
        """The media type."""
        return self._headers.get("content-type")

    @property
    def is_closed(self) -> bool:
        """True: nothing of the answer is left on a socket."""
        return True

    @property
    def is_stream_consumed(self) -> bool:
        """True, for the same reason."""
        return True

    @property
    def encoding(self) -> str | None:
        """The encoding that was set, or None for UTF-8."""
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def url(self) -> str:
        """The URL that was asked."""
        return self._request.url

    @property
    def content(self) -> bytes:
        """The body."""
        return self._reply.body

    def body(self) -> bytes:
        """Return the body, for policies of before azure.core.rest."""
        return self._reply.body

    def text(self, encoding: str | None = None) -> str:
        """Return the body as text."""
        return self._reply.body.decode(encoding or self._encoding or "utf-8-sig", errors="replace")

    def json(self) -> Any:  # noqa: ANN401  # whatever JSON holds
        """Return the body as JSON."""
        return json.loads(self.text())

    def raise_for_status(self) -> None:
        """Raise an `HttpResponseError` for a status of 400 or more."""
        if self._reply.status >= HTTPStatus.BAD_REQUEST:
            raise HttpResponseError(response=self)

    async def read(self) -> bytes:
        """Return the body."""
        return self._reply.body

    async def iter_raw(self, **_: Any) -> AsyncIterator[bytes]:  # noqa: ANN401  # the SDK's options
        """Yield the body."""
        yield self._reply.body

    async def iter_bytes(self, **_: Any) -> AsyncIterator[bytes]:  # noqa: ANN401  # the SDK's options
        """Yield the body."""
        yield self._reply.body

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: as `close`."""
