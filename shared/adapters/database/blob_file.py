"""A file in a blob of Azure Storage: fetched, changed here, and put back whole.

Theory of operation
===================

One request changes the blob: the block list, on the condition that the blob is still the one that was fetched
(`If-Match`), or that there is none (`If-None-Match`). All that comes before it, the blocks too, changes nothing that a
reader sees. So a run that is killed anywhere leaves the blob as it was, or has put it.

| step | request | what a refusal means |
|---|---|---|
| `lease` | Lease Blob, acquire, with an id of this run | 409: another run is at it. 404: there is no blob |
| `fetch` | Get Blob in ranges, with `If-None-Match`, then `If-Match` | 304: it is here. 412: another run has put |
| `renew` | Lease Blob, renew | 409: another run has taken over |
| `put` | Put Block for each piece, Put Block List | 412, and 409 for a first one: another run has put |
| `release` | Lease Blob, release | nothing: the lease ends by itself |

The lease spares work. It is no fence: a run may lose it and not know. The condition of the block list is the fence.

If no answer to the block list comes, the blob is asked (HEAD): it is ours if its metadata name this run and its ETag is
another one than before. Nothing is put a second time.

https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

import asyncio
import base64
import errno
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from shared.adapters.blob import NAME
from shared.adapters.database.blob_requests import UNKNOWN, BlobRequests, code_of, etag_of, failure_of
from shared.adapters.database.kept_copy import KeptCopy
from shared.adapters.database.note import read_note, write_note
from shared.adapters.database.sqlite import fold
from shared.core.directory.checkpoint import LeaseHeld, LeaseLost
from shared.core.directory.standing import StreamStanding
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply

PIECE_BYTES = 4 * 1024 * 1024
"""How much of the file is in memory at once, on its way up or down."""
FILE_BYTES = 512 * 1024 * 1024
"""The largest file: a run has to carry it both ways, and an instance to have room for it."""
LEASE_SECONDS = 60
"""The longest that Azure Storage takes."""

_TOO_LARGE = "leave out streams that nobody reads, or keep the directory in PostgreSQL"
_HELD = frozenset({"LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"})
_LOST = frozenset({"BlobAlreadyExists", "InvalidBlockList"})
_STANDINGS = "x-ms-meta-standings"
_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})\Z", re.ASCII)


class BlobFile:
    """The file. From `lease` to `release` it belongs to one run.

    Args:
        requests: to the blob.
        copy: the local copy.
        new_id: makes GUIDs, which name runs and leases.
        pool: runs what blocks.
    """

    def __init__(self, requests: BlobRequests, *, copy: KeptCopy, new_id: Callable[[], str], pool: Executor) -> None:
        self._requests = requests
        self._copy = copy
        self._new_id = new_id
        self._pool = pool
        self._run = ""
        self._is_leased = False
        self._etag = ""
        self._is_kept = False

    async def lease(self) -> None:
        """Begin a run. A first one, whose blob is not there yet, has no lease.

        Raises:
            LeaseHeld: another run is at it.
            UpstreamError: Azure Storage, or the disk, failed.
        """
        await self._call(self._copy.lock)
        self._run, self._is_leased, self._etag, self._is_kept = self._new_id(), False, "", False
        try:
            self._is_leased = await self._acquire()
        except BaseException:
            self._copy.unlock()
            raise

    async def renew(self) -> None:
        """Hold the lease for another minute. If there is no answer, the next renewal may still come in time.

        Raises:
            LeaseLost: another run has taken over.
        """
        if not self._is_leased:
            return
        try:
            reply = await self._requests.ask_once("PUT", "?comp=lease", {"x-ms-lease-action": "renew", **self._lease})
        except UpstreamError:
            return
        if reply.status in {404, 409, 412}:
            raise LeaseLost

    async def fetch(self) -> None:
        """Make the local copy the blob's, which takes one short request if it is that already.

        Raises:
            LeaseLost: another run has put meanwhile.
            OperatorError: the file is over `FILE_BYTES`, or the app may not read it.
            UpstreamError: Azure Storage, or the disk, failed.
        """
        kept = await self._call(self._copy.take_etag)
        if not self._is_leased:
            await self._call(self._copy.drop)
            return
        at, size, condition = 0, 1, {"if-none-match": kept} if kept else {}
        while at < size:
            asked = {"x-ms-range": f"bytes={at}-{at + PIECE_BYTES - 1}", **condition}
            reply = await self._requests.ask("GET", headers=asked, body_bytes=PIECE_BYTES)
            if reply.status == 304 and kept and at == 0:
                self._etag = kept
                return
            if reply.status == 412:
                raise LeaseLost
            if reply.status != 206:
                raise failure_of(reply)
            self._etag = etag_of(reply)
            size = _size(reply, at=at)
            if size > FILE_BYTES:
                raise _too_large()
            await self._call(self._copy.write_part, reply.body, at=at)
            at += len(reply.body)
            condition = {"if-match": self._etag}
        await self._call(self._copy.replace)

    async def standings(self) -> Sequence[StreamStanding]:
        """Return where the streams stood when the file was put: the blob's metadata tell, and no lease is needed.

        Raises:
            UpstreamError: Azure Storage failed, or the blob does not tell.
        """
        reply = await self._requests.ask("HEAD")
        if (reply.status, code_of(reply)) == (404, "BlobNotFound"):
            return []
        if reply.status != 200:
            raise failure_of(reply)
        if (found := read_note(reply.headers.get(_STANDINGS, ""))) is None:
            raise BadAnswer(cause=f"{NAME}: the blob does not tell where the streams stand")
        return found

    async def put(self, standings: Sequence[StreamStanding] = ()) -> None:
        """Put the local copy in the place of what was fetched; nobody may have it open.

        Args:
            standings: where the streams stand, which the blob tells without being fetched.

        Raises:
            LeaseLost: another run has put meanwhile; nothing was put.
            OperatorError: the file is over `FILE_BYTES`, or the app may not write it.
            UpstreamError: Azure Storage, or the disk, failed. The blob may be ours: the next run finds out.
        """
        await self._call(fold, self._copy.file)
        if await self._call(self._copy.size) > FILE_BYTES:
            raise _too_large()
        blocks: list[str] = []
        while piece := await self._call(self._copy.read_piece, PIECE_BYTES, at=len(blocks) * PIECE_BYTES):
            block = base64.b64encode(f"{self._run}-{len(blocks):04}".encode()).decode()
            place = f"?comp=block&blockid={quote(block, safe='')}"
            reply = await self._requests.ask("PUT", place, self._lease, content=piece)
            if reply.status == 412:
                raise LeaseLost
            if reply.status != 201:
                raise failure_of(reply)
            blocks.append(block)
        self._etag = await self._commit(blocks, write_note(standings))
        await self.keep()

    async def keep(self) -> None:
        """Note that the local copy says what the blob says.

        Raises:
            UpstreamError: the disk failed.
        """
        if self._etag:
            await self._call(self._copy.keep, self._etag)
            self._is_kept = True

    async def release(self) -> None:
        """End a run. A copy that is not the blob's is removed."""
        try:
            if not self._is_kept:
                with suppress(UpstreamError):
                    await self._call(self._copy.drop)
            if self._is_leased:
                with suppress(UpstreamError):
                    headers = {"x-ms-lease-action": "release", **self._lease}
                    await self._requests.ask_once("PUT", "?comp=lease", headers)
        finally:
            self._is_leased = False
            self._copy.unlock()

    @property
    def _lease(self) -> Mapping[str, str]:
        """The headers of whoever holds the lease."""
        return {"x-ms-lease-id": self._run} if self._is_leased else {}

    async def _acquire(self) -> bool:
        """Return whether the run has the lease: it has none where there is no blob; errors as in `lease`."""
        asked = {
            "x-ms-lease-action": "acquire",
            "x-ms-lease-duration": str(LEASE_SECONDS),
            "x-ms-proposed-lease-id": self._run,
        }
        reply = await self._requests.ask("PUT", "?comp=lease", asked)
        if reply.status == 409 and code_of(reply) in _HELD:
            raise LeaseHeld
        if reply.status != 201 and (reply.status, code_of(reply)) != (404, "BlobNotFound"):
            raise failure_of(reply)
        return reply.status == 201

    async def _commit(self, blocks: list[str], note: str) -> str:
        """Put the list of blocks, once; return the new ETag. Errors as in `put`."""
        listed = "".join(f"<Uncommitted>{block}</Uncommitted>" for block in blocks)
        content = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = {"if-match": self._etag} if self._etag else {"if-none-match": "*"}
        headers |= {"x-ms-meta-run": self._run, "content-type": "application/xml", **self._lease}
        headers |= {_STANDINGS: note} if note else {}
        try:
            reply = await self._requests.ask_once("PUT", "?comp=blocklist", headers, content=content)
        except UpstreamError as error:
            failure = error
        else:
            if reply.status == 201:
                return etag_of(reply)
            if reply.status == 412 or code_of(reply) in _LOST:
                raise LeaseLost
            failure = failure_of(reply)
            if reply.status not in UNKNOWN:
                raise failure
        found = await self._requests.ask("HEAD")
        if found.status == 200 and found.headers.get("x-ms-meta-run") == self._run and etag_of(found) != self._etag:
            return etag_of(found)
        raise failure

    async def _call[**P, T](self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Run what blocks.

        Raises:
            Unavailable: the disk failed.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **more))
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        remedy = "make room on the disk of the temporary files, and let the app write there"
        raise Unavailable(cause=f"the local copy failed: {name}", remedy=remedy)


def _too_large() -> OperatorError:
    return OperatorError(cause=f"the directory's file is over {FILE_BYTES // 1024**2} MiB", remedy=_TOO_LARGE)


def _size(reply: Reply, *, at: int) -> int:
    """Return the size of the blob by an answer to a range.

    Raises:
        BadAnswer: the answer is not that range.
    """
    found = _RANGE.match(reply.headers.get("content-range", ""))
    if not found or not reply.body or (int(found[1]), int(found[2])) != (at, at + len(reply.body) - 1):
        raise BadAnswer(cause=f"{NAME}: the answer is another part of the blob")
    return int(found[3])
