"""A document in a file of this machine. Its hash names its version; times do not.

A file can be read while it is written. A program that writes the document must rename a finished file over it.
"""

import asyncio
import hashlib
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, Unavailable


class FileSource:
    """A document in a file.

    Args:
        path: of the file.
        pool: where blocking reads run; None for a thread of its own, so that a folder that hangs costs this file alone.
    """

    def __init__(self, path: Path, *, pool: Executor | None = None) -> None:
        self._path = path
        self._pool = pool or ThreadPoolExecutor(1, thread_name_prefix="file")
        self.name = path.name

    async def read(self, etag: str) -> Content | None:
        """Return the document, or None where its ETag is this one.

        Raises:
            Unavailable: the file cannot be read.
            BadAnswer: the file is too large.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, etag)

    def _read(self, etag: str) -> Content | None:
        try:
            with self._path.open("rb") as file:
                text = file.read(DOCUMENT_BYTES + 1)
        except OSError as error:
            raise Unavailable(cause=f"cannot be read ({type(error).__name__})") from None
        if len(text) > DOCUMENT_BYTES:
            raise BadAnswer(cause=f"larger than {DOCUMENT_BYTES // 1024} KiB")
        found = hashlib.sha256(text).hexdigest()
        return None if found == etag else Content(found, text)
