"""The content of one storage account: blobs, the blocks of those to come, and leases."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from emulator.blob import errors
from emulator.blob.lease import Lease


@dataclass(frozen=True)
class Stored:
    """The present content of one blob."""

    content: bytes = field(repr=False)
    etag: str
    modified: float
    metadata: Mapping[str, str] = MappingProxyType({})
    blocks: Mapping[str, bytes] = field(default_factory=dict, repr=False)


class Blobs:
    """The blobs of an account, by container and name.

    Args:
        now: the clock, in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stored: dict[tuple[str, str], Stored] = {}
        self._uncommitted: dict[tuple[str, str], dict[str, bytes]] = {}
        self._leases: dict[tuple[str, str], Lease] = {}

    def get(self, at: tuple[str, str]) -> Stored | None:
        """Return a blob, if it is there."""
        return self._stored.get(at)

    def lease(self, at: tuple[str, str]) -> Lease:
        """Return the lease of a blob; one that is not there has a free one."""
        return self._leases.setdefault(at, Lease())

    def write(
        self,
        at: tuple[str, str],
        content: bytes,
        *,
        age: float = 0,
        metadata: Mapping[str, str] = MappingProxyType({}),
        blocks: Mapping[str, bytes] = MappingProxyType({}),
    ) -> Stored:
        """Replace a blob; blocks that were put and not listed are gone (put-block-list, remarks)."""
        etag = f'"0x8DE{secrets.token_hex(6).upper()}"'
        self._stored[at] = stored = Stored(content, etag, self._now() - age, metadata, blocks)
        self._uncommitted.pop(at, None)
        self.lease(at).written(now=self._now())
        return stored

    def put_block(self, at: tuple[str, str], block_id: str, content: bytes) -> None:
        """Store a block for a list to come.

        Raises:
            Refusal: its id is not as long as those of the others.
        """
        blocks = self._uncommitted.setdefault(at, {})
        known = [*blocks, *(self._stored[at].blocks if at in self._stored else ())]
        if any(len(other) != len(block_id) for other in known):
            raise errors.invalid_block()
        blocks[block_id] = content

    def commit(self, at: tuple[str, str], listed: Sequence[tuple[str, str]], metadata: Mapping[str, str]) -> Stored:
        """Replace a blob by blocks.

        Args:
            at: the blob.
            listed: where each block is looked for (`Latest`, `Committed`, `Uncommitted`), and its id.
            metadata: of the blob.

        Raises:
            Refusal: there is no such block.
        """
        uncommitted = self._uncommitted.get(at, {})
        committed = self._stored[at].blocks if at in self._stored else {}
        places = {"Latest": {**committed, **uncommitted}, "Committed": committed, "Uncommitted": uncommitted}
        try:
            blocks = {block_id: places[place][block_id] for place, block_id in listed}
        except KeyError:
            raise errors.invalid_block_list() from None
        content = b"".join(blocks[block_id] for _, block_id in listed)
        return self.write(at, content, metadata=metadata, blocks=blocks)

    def remove(self, at: tuple[str, str]) -> None:
        """Delete a blob with its blocks and its lease, if it is there."""
        self._stored.pop(at, None)
        self._uncommitted.pop(at, None)
        self._leases.pop(at, None)
