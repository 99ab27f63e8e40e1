"""The warm cache, one per worker process.

A hit is a plain call. A token that is due for a refresh is served, and one flight per key gets a newer one behind the
caller's back. A miss is one flight per key, however many wait for it, and whoever of them goes away.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shared.audit import Events
from shared.core.errors import TimedOut, VendError
from shared.core.token import AccessToken, Freshness, Moment, TokenKey, TokenSource
from shared.flights import Flights


class Served(NamedTuple):
    """A token that may be handed out, and where it came from."""

    token: AccessToken
    source: TokenSource


class TokenCache:
    """Tokens by their key.

    Args:
        acquire: gets a token from Entra.
        entries: how many keys are kept; the one that was asked for longest ago goes first.
        floor_seconds: the least life that a token is served with.
        budget_seconds: how long a flight may take; no caller waits longer.
        clock: both clocks.
        events: where a background refresh tells that it failed.
    """

    def __init__(
        self,
        acquire: Callable[[TokenKey], Awaitable[AccessToken]],
        *,
        entries: int,
        floor_seconds: float,
        budget_seconds: float,
        clock: Callable[[], Moment],
        events: Events,
    ) -> None:
        self._acquire = acquire
        self._entries = entries
        self._floor = floor_seconds
        self._budget = budget_seconds
        self._clock = clock
        self._events = events
        self._tokens: OrderedDict[TokenKey, AccessToken] = OrderedDict()
        self._flights: Flights[TokenKey, AccessToken] = Flights()

    def __len__(self) -> int:
        return len(self._tokens)

    def hit(self, key: TokenKey) -> AccessToken | None:
        """Give a token that can be served without waiting, or None.

        Must be called on the event loop: a token that is due for a refresh starts one.
        """
        token = self._tokens.get(key)
        if token is None:
            return None
        freshness = token.freshness(self._clock(), floor=self._floor)
        if freshness is Freshness.EXPIRED:
            return None
        if freshness is Freshness.STALE:
            self._flights.start(key, lambda: self._refresh(key))
        self._tokens.move_to_end(key)
        return token

    async def get(self, key: TokenKey) -> Served:
        """Give a token, waiting for Entra where there is no usable one.

        Raises:
            UpstreamError, Denied: none can be had now.
        """
        token = self.hit(key)
        if token is not None:
            return Served(token, TokenSource.CACHE)
        return Served(await self._flights.join(key, lambda: self._fly(key)), TokenSource.IDENTITY_PROVIDER)

    def clear(self) -> None:
        """Forget every token, those that are under way too: the kill switch."""
        # What was asked for before lands in what nobody looks into any more.
        self._tokens = OrderedDict()
        self._flights = Flights()

    async def _fly(self, key: TokenKey) -> AccessToken:
        tokens = self._tokens
        try:
            async with asyncio.timeout(self._budget):
                token = await self._acquire(key)
        except TimeoutError:
            raise TimedOut(cause="the caller's time ran out") from None
        tokens[key] = token
        tokens.move_to_end(key)
        if len(tokens) > self._entries:
            tokens.popitem(last=False)
        return token

    async def _refresh(self, key: TokenKey) -> AccessToken:
        try:
            return await self._fly(key)
        except VendError as error:
            self._events.defer(
                "refresh_failed", profile=key.profile, tenant_id=key.tenant_id, scope=key.scope, cause=error.cause
            )
            raise
