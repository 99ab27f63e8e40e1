"""The lease of one blob: who may write it, for a time.

States and refusals: https://learn.microsoft.com/rest/api/storageservices/lease-blob#remarks
"""

import math

from emulator.blob import errors

FOREVER = -1
SHORTEST, LONGEST = 15, 60


class Lease:
    """The lease of a blob, free at first. A lease that has expired or was broken still has its id.

    An expired lease can be renewed by its id until somebody else takes it or the blob is written.
    """

    def __init__(self) -> None:
        self._id = ""
        self._duration = FOREVER
        self._until = -math.inf
        self._is_broken = False

    def acquire(self, proposed: str, duration: int, *, now: float) -> None:
        """Take the lease for so many seconds. Its holder may take it again.

        Raises:
            Refusal: another id holds it, the lease is about to end, or the duration is none.
        """
        if self.is_held(now):
            if self._is_broken:
                raise errors.breaking() if proposed == self._id else errors.lease_present()
            if proposed != self._id:
                raise errors.lease_present()
        if duration != FOREVER and not SHORTEST <= duration <= LONGEST:
            raise errors.invalid_header()
        self._id, self._duration, self._is_broken = proposed, duration, False
        self._extend(now)

    def renew(self, lease_id: str, *, now: float) -> None:
        """Hold the lease anew.

        Raises:
            Refusal: it is not the lease of this id, or was broken.
        """
        self._check_operation(lease_id)
        if self._is_broken:
            raise errors.broken()
        self._extend(now)

    def release(self, lease_id: str) -> None:
        """Release the lease.

        Raises:
            Refusal: it is not the lease of this id.
        """
        self._check_operation(lease_id)
        self.forget()

    def end(self, period: int | None, *, now: float) -> int:
        """Break the lease, whoever holds it; return the seconds until others may take it.

        Args:
            period: how long the lease still counts, at the most; None for what is left of it.
            now: in seconds since 1970.

        Raises:
            Refusal: there is no lease.
        """
        if not self._id:
            raise errors.no_lease_to_change()
        left = max(self._until - now, 0.0)
        if period is not None or math.isinf(left):
            left = min(left, period or 0)
        self._until, self._is_broken = now + left, True
        return math.ceil(left)

    def check_write(self, lease_id: str, *, now: float) -> None:
        """Check a write with this id, or with none.

        Raises:
            Refusal: the blob is leased to another id, or the id has no lease any more.
        """
        if self.is_held(now):
            if not lease_id:
                raise errors.lease_id_missing()
            if lease_id != self._id:
                raise errors.lease_id_mismatch()
        elif lease_id:
            raise errors.lease_lost() if lease_id == self._id else errors.no_lease()

    def written(self, *, now: float) -> None:
        """Forget a lease that was not held while the blob was written."""
        if not self.is_held(now):
            self.forget()

    def forget(self) -> None:
        """Forget who holds the lease, if anybody does."""
        self._id, self._until, self._is_broken = "", -math.inf, False

    def is_held(self, now: float) -> bool:
        """Return whether others are kept out."""
        return bool(self._id) and now < self._until

    def _extend(self, now: float) -> None:
        self._until = math.inf if self._duration == FOREVER else now + self._duration

    def _check_operation(self, lease_id: str) -> None:
        if not self._id or lease_id != self._id:
            raise errors.lease_id_mismatch_of_lease()
