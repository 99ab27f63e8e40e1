"""Files of this machine: what is read of one is bounded. The hash of a document names its version; times do not.

A file can be read while it is written. A program that writes the document must rename a finished file over it.
"""

import asyncio
import hashlib
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG

from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, Unavailable


class NoRegularFileError(OSError):
    """A device, a pipe or a folder, which may have no end."""


def read_file(path: Path, *, most: int) -> bytes:
    """Return the bytes of a regular file; of one that is larger than `most`, the first `most + 1`.

    Raises:
        OSError: the file cannot be read, or is none.
    """
    if not S_ISREG(path.stat().st_mode):
        raise NoRegularFileError
    with path.open("rb") as file:
        return file.read(most + 1)


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
            text = read_file(self._path, most=DOCUMENT_BYTES)
        except OSError as error:
            raise Unavailable(cause=f"cannot be read ({type(error).__name__})") from None
        if len(text) > DOCUMENT_BYTES:
            raise BadAnswer(cause=f"larger than {DOCUMENT_BYTES // 1024} KiB")
        found = hashlib.sha256(text).hexdigest()
        return None if found == etag else Content(found, text)
