"""Identifies the caller, by a key or by an identity token.

A token that was verified lately is not verified again. It is remembered by its SHA-256, until its end, and only as long
as the keys of its issuer are the ones that it was verified with. The caller is looked up at every request, so that a
caller who was taken out is refused, whatever is remembered.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from shared.callers.issuer_keys import IssuerKeys
from shared.callers.live import Callers
from shared.core.errors import UnknownIdentity
from shared.core.identity_token import Issuer, Subject, issuer_of, read_identity_token, refused
from shared.core.policy import Caller
from shared.core.token import Moment
from shared.core.verification_keys import KeySet

VERIFIED = 1_000
"""Tokens that are remembered; the one unused for longest gives way."""


class _Verified(NamedTuple):
    """The facts that are kept of a token; none of them leads back to the token."""

    identity: Subject
    expires_on: float
    keys: KeySet


class Recognition:
    """Finds the caller of a request.

    Args:
        callers: by the document as it is now.
        issuers: those that are configured, by their URL.
        keys: of each issuer, by its name.
        clock: both clocks.
    """

    def __init__(
        self,
        callers: Callers,
        *,
        issuers: Mapping[str, Issuer],
        keys: Mapping[str, IssuerKeys],
        clock: Callable[[], Moment],
    ) -> None:
        self._callers = callers
        self._issuers = issuers
        self._keys = keys
        self._clock = clock
        self._verified: dict[bytes, _Verified] = {}  # the one unused for longest comes first

    def revalidate(self, now: float) -> Awaitable[None] | None:
        """Return what must be awaited before a caller is identified, or None; `now` is by the boot clock."""
        return self._callers.revalidate(now)

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Return the caller of a key; raise `UnknownCaller` or `NotReady`."""
        return self._callers.identify(key, host_checked=host_checked)

    async def verify(self, token: str, *, beside_key: bool) -> Subject | None:
        """Return whose token it is.

        Args:
            token: what may be one.
            beside_key: whether a key was shown too; the platform may have put anything beside it.

        Returns:
            None where a text beside a key does not say itself that it is the token of a configured issuer.

        Raises:
            UnknownIdentity: it is not the token of a caller.
            Unavailable: the keys of its issuer cannot be read.
            NotReady: no valid callers document is in force.
        """
        if beside_key and not self._issuers:
            return None
        digest = _digest(token)
        if (identity := await self._remembered(digest)) is not None:
            return identity
        try:
            read = read_identity_token(token, self._issuers, now=self._clock().wall)
        except UnknownIdentity:
            if beside_key and issuer_of(token) not in self._issuers:
                return None
            raise
        name = read.issuer.name
        if not self._callers.has(read.subject):
            raise refused("of no caller", issuer=name)
        keys, key = await self._keys[name].key_of(read)
        if not read.is_signed_by(key):
            raise refused("not signed by its issuer", issuer=name)
        self._remember(digest, _Verified(read.subject, read.expires_on, keys))
        return read.subject

    def caller_with(self, identity: Subject, *, key: str | None) -> Caller:
        """Return the caller that has an identity.

        Args:
            identity: that a token has proved.
            key: that was shown beside it; None where there was none.

        Raises:
            UnknownIdentity: no caller has it, or its time is over, or the key is another caller's.
            NotReady: no valid document is in force.
        """
        caller = self._callers.identify_subject(identity)
        if key is not None and self._callers.owner_of(key) not in {None, caller.name}:
            raise refused(f"of {caller.name}, beside the key of another caller", issuer=identity.issuer)
        return caller

    async def _remembered(self, digest: bytes) -> Subject | None:
        found = self._verified.pop(digest, None)
        if found is None or self._clock().wall >= found.expires_on:
            return None
        if found.keys is not await self._keys[found.identity.issuer].current():
            return None
        self._remember(digest, found)
        return found.identity

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        if len(self._verified) >= VERIFIED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
