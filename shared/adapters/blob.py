"""A document in a blob of Azure Storage, read with the app's own identity.

A blob is replaced whole, and HTTP reveals an answer that was cut, so no half of a document is ever read.
https://learn.microsoft.com/rest/api/storageservices/get-blob
"""

import re
from collections.abc import Awaitable, Mapping
from typing import Protocol

from shared.adapters.own_identity import GetToken, authorized
from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, OperatorError, Unavailable
from shared.core.reply import Reply

NAME = "Azure Storage"
VERSION = "2023-11-03"
"""Of the blob service: https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services"""

_CAUSES: Mapping[int, str] = {
    401: f"{NAME}: HTTP 401, the app's token is not accepted",
    403: f"{NAME}: HTTP 403, the app needs Storage Blob Data Reader, and a way through the firewall",
    404: f"{NAME}: HTTP 404, there is no such blob",
}


class GetBlob(Protocol):
    """Gets one URL."""

    def __call__(self, url: str, *, headers: Mapping[str, str], body_bytes: int) -> Awaitable[Reply]:
        """Return the answer, within its bounds; raise an `UpstreamError` where none comes."""


ETAG = re.compile(r"[\x21-\x7e]{1,256}\Z")
"""Of RFC 9110 section 8.8.3, without the characters beyond ASCII."""


class BlobSource:
    """A document in a blob.

    Args:
        url: of the blob.
        get_token: of Azure Storage.
        get: sends the request.
    """

    def __init__(self, url: str, *, get_token: GetToken, get: GetBlob) -> None:
        self._url = url
        self._get_token = get_token
        self._get = get
        self.name = url.rpartition("/")[2]

    async def read(self, etag: str) -> Content | None:
        """Return the document, or None where its ETag is this one.

        Raises:
            OperatorError: the app may not read the blob, or there is none.
            UpstreamError: the identity or the blob service failed.
        """
        headers = {"x-ms-version": VERSION, "accept": "*/*", **({"if-none-match": etag} if etag else {})}

        async def get(token: Mapping[str, str]) -> Reply:
            return await self._get(self._url, headers={**token, **headers}, body_bytes=DOCUMENT_BYTES)

        reply = await authorized(get, self._get_token)
        if reply.status == 304 and etag:
            return None
        if reply.status in _CAUSES:
            raise OperatorError(cause=_CAUSES[reply.status])
        if reply.status != 200:
            raise Unavailable(cause=f"{NAME}: HTTP {reply.status}")
        # Anything else in the way, such as a proxy with a page of its own, sends no ETag.
        found = reply.headers.get("etag", "")
        if not ETAG.match(found):  # it goes back in the next request
            raise BadAnswer(cause=f"{NAME}: the answer is no blob's, it has no usable ETag")
        return Content(found, reply.body)
