"""Requests to one blob of Azure Storage, with a token of the app's own, and what their answers mean."""

import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from shared.adapters.blob import ETAG, NAME, VERSION
from shared.adapters.own_identity import GetToken, authorized
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply

ATTEMPTS = 3

UNKNOWN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which nothing was done, or it is not known what was."""
_CAUSES: Mapping[int, str] = {
    401: "the app's token is not accepted",
    403: "the app needs Storage Blob Data Contributor on the container, and a way through the firewall",
    404: "there is no such container",
    416: "the blob is empty; delete it, and the next run copies anew",
}
_CODE = re.compile(r"[A-Za-z]{1,64}\Z")


class SendToBlob(Protocol):
    """Sends a request to Azure Storage."""

    def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
    ) -> Awaitable[Reply]:
        """Return the answer; raise an `UpstreamError` if there is none."""


class BlobRequests:
    """Sends requests about one blob.

    Args:
        url: of the blob.
        get_token: of Azure Storage.
        send: sends a request.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        get_token: GetToken,
        send: SendToBlob,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._url = url
        self._get_token = get_token
        self._send = send
        self._sleep = sleep

    async def ask(
        self,
        method: str,
        query: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        content: bytes = b"",
        body_bytes: int | None = None,
    ) -> Reply:
        """Send a request that may arrive twice, again after a failure that may pass; errors as in `ask_once`."""
        for attempt in range(1, ATTEMPTS):
            try:
                reply = await self.ask_once(method, query, headers, content=content, body_bytes=body_bytes)
            except UpstreamError as error:
                if not error.retryable:
                    raise
            else:
                if reply.status not in UNKNOWN:
                    return reply
            await self._sleep(2.0 ** (attempt - 1))
        return await self.ask_once(method, query, headers, content=content, body_bytes=body_bytes)

    async def ask_once(
        self,
        method: str,
        query: str,
        headers: Mapping[str, str],
        *,
        content: bytes = b"",
        body_bytes: int | None = None,
    ) -> Reply:
        """Send a request, and again with another token if the first one is rejected: then nothing was done.

        Args:
            method: of the request.
            query: what follows the URL of the blob, with its question mark.
            headers: beside those of every request.
            content: of the request.
            body_bytes: the largest answer.

        Raises:
            UpstreamError: there is no answer, or no token.
        """
        every = {"x-ms-version": VERSION, "accept": "*/*", **headers}
        url = f"{self._url}{query}"

        async def send(token: Mapping[str, str]) -> Reply:
            return await self._send(method, url, headers={**token, **every}, content=content, body_bytes=body_bytes)

        return await authorized(send, self._get_token)


def code_of(reply: Reply) -> str:
    """Return the code of a refusal, which is of Azure's own vocabulary; "" if there is none."""
    code = reply.headers.get("x-ms-error-code", "")
    return code if _CODE.match(code) else ""


def failure_of(reply: Reply) -> UpstreamError:
    """Return the error for an answer of no use; no text of the answer is in it but its code."""
    told = f"{NAME}: HTTP {reply.status} {code_of(reply)}".rstrip()
    if about := _CAUSES.get(reply.status):
        return OperatorError(cause=f"{told}, {about}")
    return Unavailable(cause=told)


def etag_of(reply: Reply) -> str:
    """Return the ETag of an answer.

    Raises:
        BadAnswer: there is none: something in the way has answered.
    """
    etag = reply.headers.get("etag", "")
    if not ETAG.match(etag):
        raise BadAnswer(cause=f"{NAME}: the answer is no blob's, it has no usable ETag")
    return etag
