"""Where the callers document lies: a file, or a blob. Its ETag tells whether it has changed; times never do.

Nothing is ever half of it. A blob is replaced whole, and HTTP tells an answer that was cut; a file has no such
guarantee, so whoever writes one renames a finished one over it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from shared.callers.live import Content
from shared.core.errors import BadAnswer, OperatorError, Unavailable
from shared.core.reply import Reply

DOCUMENT_BYTES = 1024 * 1024
"""The most that is read: callers by the thousand."""

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
        """Get it within its bounds; raise a `VendError` where there is no answer."""


class FileSource:
    """A document in a file.

    Args:
        path: of the file.
        pool: where the disk is waited for.
    """

    def __init__(self, path: Path, *, pool: Executor) -> None:
        self._path = path
        self._pool = pool
        self.name = path.name

    async def read(self, etag: str) -> Content | None:
        """Read it; None if it is that of the ETag still.

        Raises:
            Unavailable: it cannot be read.
            BadAnswer: it is too large.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, etag)

    def _read(self, etag: str) -> Content | None:
        try:
            with self._path.open("rb") as file:
                text = file.read(DOCUMENT_BYTES + 1)
        except OSError as error:
            raise Unavailable(cause=f"cannot be read ({type(error).__name__})") from None
        if len(text) > DOCUMENT_BYTES:
            raise BadAnswer(cause="larger than 1 MiB")
        found = hashlib.sha256(text).hexdigest()
        return None if found == etag else Content(found, text)


class BlobSource:
    """A document in a blob, read as the app's own identity.

    Args:
        url: of the blob.
        token_for: gives a token of the app's own for a scope; it blocks.
        get: the way out.
        pool: where `token_for` runs.
    """

    def __init__(self, url: str, *, token_for: Callable[[str], str], get: GetBlob, pool: Executor) -> None:
        self._url = url
        self._token_for = token_for
        self._get = get
        self._pool = pool
        self.name = url.rpartition("/")[2]

    async def read(self, etag: str) -> Content | None:
        """Read it; None if it is that of the ETag still (https://learn.microsoft.com/rest/api/storageservices/get-blob).

        Raises:
            OperatorError: the app may not read it, or it is not there.
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
        # Whatever else stands in the way, such as a proxy with a page of its own, sends no ETag.
        if not (found := reply.headers.get("etag")):
            raise BadAnswer(cause="the answer is no blob's: it has no ETag")
        return Content(found, reply.body)
