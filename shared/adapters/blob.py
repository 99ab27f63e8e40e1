"""A document in a blob of Azure Storage, read with the app's own identity.

A blob is replaced whole, and HTTP reveals an answer that was cut, so no half of a document is ever read.
https://learn.microsoft.com/rest/api/storageservices/get-blob
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Protocol

from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, OperatorError, Unavailable
from shared.core.reply import Reply

SCOPE = "https://storage.azure.com/.default"  # in every cloud
VERSION = "2023-11-03"
"""Of the blob service: https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services"""

_CAUSES: Mapping[int, str] = {
    401: "the blob service does not take the app's token",
    403: "the app may not read the blob: it needs Storage Blob Data Reader, and a way through the firewall",
    404: "there is no such blob",
}


class GetBlob(Protocol):
    """Gets one URL."""

    def __call__(self, url: str, *, headers: Mapping[str, str], body_bytes: int) -> Awaitable[Reply]:
        """Return the answer, within its bounds; raise an `UpstreamError` where none comes."""


class BlobSource:
    """A document in a blob.

    Args:
        url: of the blob.
        token_for: returns a token of the app's own for a scope; it blocks.
        get: sends the request.
        pool: where `token_for` runs.
    """

    def __init__(self, url: str, *, token_for: Callable[[str], str], get: GetBlob, pool: Executor) -> None:
        self._url = url
        self._token_for = token_for
        self._get = get
        self._pool = pool
        self.name = url.rpartition("/")[2]

    async def read(self, etag: str) -> Content | None:
        """Return the document, or None where its ETag is this one.

        Raises:
            OperatorError: the app may not read the blob, or there is none.
            UpstreamError: the identity or the blob service failed.
        """
        token = await asyncio.get_running_loop().run_in_executor(self._pool, self._token_for, SCOPE)
        headers = {"authorization": f"Bearer {token}", "x-ms-version": VERSION, "accept": "*/*"}
        if etag:
            headers["if-none-match"] = etag
        reply = await self._get(self._url, headers=headers, body_bytes=DOCUMENT_BYTES)
        if reply.status == 304 and etag:
            return None
        if reply.status in _CAUSES:
            raise OperatorError(cause=_CAUSES[reply.status])
        if reply.status != 200:
            raise Unavailable(cause=f"the blob service answered {reply.status}")
        # Anything else in the way, such as a proxy with a page of its own, sends no ETag.
        if not (found := reply.headers.get("etag")):
            raise BadAnswer(cause="the answer is no blob's: it has no ETag")
        return Content(found, reply.body)
