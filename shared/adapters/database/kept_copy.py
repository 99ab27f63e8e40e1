"""The local copy of a file in a blob: in a folder of its owner alone, for one run at a time.

The ETag of the blob lies beside the file while both have the same content. It is taken away before a run writes. So the
file of a run that was killed is never taken for the blob's.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from shared.core.directory.checkpoint import LeaseHeld
from shared.core.errors import OperatorError


class KeptCopy:
    """The copy, and what lies beside it.

    Args:
        folder: of this copy alone; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self.file = folder / "directory.db"
        self.part = folder / "directory.db.part"
        self._etag = folder / "etag"

    def lock(self) -> None:
        """Lock out other runs on this machine, until `unlock` or the end of the process.

        Raises:
            LeaseHeld: another run is in the folder.
            OperatorError: the folder is another user's, or open to one.
            OSError: the folder cannot be made.
        """
        with suppress(FileExistsError):
            self._folder.mkdir(0o700)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            cause = "the folder of the local copy is not the app's own"
            raise OperatorError(cause=cause, remedy=f"remove {self._folder}, and find out who made it")
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise LeaseHeld from None
        self._lock = lock

    def unlock(self) -> None:
        """Let another run in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take_etag(self) -> str:
        """Return the ETag of the copy, which no longer has it; "" where the copy is not the blob's."""
        etag = self._etag.read_text("ascii") if self._etag.exists() and self.file.exists() else ""
        self._etag.unlink(missing_ok=True)
        return etag

    def keep(self, etag: str) -> None:
        """Note that the file has the content of the blob with this ETag."""
        self._etag.write_text(etag, "ascii")

    def replace(self) -> None:
        """Make what was fetched the file."""
        self.part.replace(self.file)

    def drop(self) -> None:
        """Remove the file with all that SQLite keeps beside it: the WAL of one file would destroy the next one."""
        for path in (self._etag, self.part, *(Path(f"{self.file}{end}") for end in ("-wal", "-shm", "-journal", ""))):
            path.unlink(missing_ok=True)

    def write_part(self, piece: bytes, *, at: int) -> None:
        """Write a piece of what is fetched. The first one removes the copy: the disk may have no room for two."""
        if at == 0:
            self.drop()
            self.part.touch(0o600)
        with self.part.open("r+b") as part:
            part.seek(at)
            part.write(piece)

    def size(self) -> int:
        """Return the size of the file."""
        return self.file.stat().st_size

    def read_piece(self, size: int, *, at: int) -> bytes:
        """Return a piece of the file, which is shorter at its end."""
        with self.file.open("rb") as file:
            file.seek(at)
            return file.read(size)
