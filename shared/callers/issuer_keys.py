"""The keys of one issuer as they are now: they are asked for again, and outlive an issuer that cannot be asked.

Theory of operation
===================

A worker has one set of keys in force, with two instants of the boot clock. One is when the last good answer was asked
for, the other when the last attempt was made.

    age of the last good answer     a token
    under `REFRESH_SECONDS`         is judged by the set in force
    under `MUST_ASK_SECONDS`        is judged by it, while the issuer is asked behind the caller's back
    older                           waits for the issuer, at most `callers_deadline_seconds`; then is judged by it
    over `MAX_AGE_SECONDS`, or none waits, at most `attempt_seconds`; without an answer it is 503, never 401

A good answer replaces the set whole. So a key that its issuer has removed is refused within the hour, and the keys of
an issuer that is away serve for two days. A token that names a key outside of the set has the issuer asked too, so a
new key is in force within a minute.

However many tokens come, the issuer is asked once at a time, and once in `PAUSE_SECONDS`; by a worker without any keys
once in `FIRST_PAUSE_SECONDS`.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from shared.core.errors import Unavailable, VendError
from shared.core.identity_token import UnverifiedToken, refused
from shared.core.limits import Limits
from shared.core.token import Moment
from shared.core.verification_keys import KeySet, VerificationKey
from shared.single_flight import Flights, SentAway, Shedding
from shared.telemetry import catalogue
from shared.telemetry.catalogue.fields import Kept
from shared.telemetry.events import Events

REFRESH_SECONDS = 50 * 60.0
MUST_ASK_SECONDS = 60 * 60.0
MAX_AGE_SECONDS = 48 * 3600.0
PAUSE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 5.0

type Fetch = Callable[[], Coroutine[Any, Any, KeySet]]
"""Returns the keys that an issuer publishes now, or raises a `VendError`."""


class Found(NamedTuple):
    """The key that a token must be signed with, and the set that has it."""

    keys: KeySet
    key: VerificationKey


class IssuerKeys:
    """The keys of one issuer.

    Args:
        name: of the issuer in the configuration.
        fetch: asks it.
        limits: the knobs.
        clock: both clocks.
        events: where failures and new keys are reported.
    """

    def __init__(self, name: str, fetch: Fetch, *, limits: Limits, clock: Callable[[], Moment], events: Events) -> None:
        self._name = name
        self._fetch = fetch
        self._limits = limits
        self._clock = clock
        self._events = events
        # A flight bounds itself, so that its timeout counts as an attempt; this bound is never the first.
        self._flights = Flights[str, None](
            seconds=2 * limits.caller_budget_seconds,
            shedding=Shedding(after=lambda: limits.shed_after_seconds, most=limits.waiting_max),
        )
        self._keys: KeySet | None = None
        self._last_success = -math.inf
        self._last_attempt = -math.inf
        self._is_failing = False

    async def current(self) -> KeySet:
        """Return the set in force, after the issuer was asked where that must come first.

        Raises:
            Unavailable: there is none.
        """
        now = self._clock().boot
        age = now - self._last_success
        if age >= MUST_ASK_SECONDS:
            await self._ask(now)
        elif age >= REFRESH_SECONDS and self._may_ask(now):
            self._flights.start(self._name, partial(self._read, now))
        keys = self._in_force(now)
        if keys is None:
            raise self._unavailable()
        return keys

    async def key_of(self, token: UnverifiedToken) -> Found:
        """Return the key that a token must be signed with, after the issuer was asked where the set lacks it.

        Raises:
            UnknownIdentity: the issuer has no such key.
            Unavailable: nobody knows whether it has, because it cannot be asked.
        """
        keys = await self.current()
        key = keys.find(token.key_id, token.algorithm)
        if key is None:
            now = self._clock().boot
            await self._ask(now)
            keys = self._in_force(now) or keys
            key = keys.find(token.key_id, token.algorithm)
        if key is not None:
            return Found(keys, key)
        if self._is_failing:
            raise self._unavailable()
        raise refused("by no key of its issuer", issuer=self._name)

    def _in_force(self, now: float) -> KeySet | None:
        return self._keys if now - self._last_success <= MAX_AGE_SECONDS else None

    def _may_ask(self, now: float) -> bool:
        return now - self._last_attempt >= (PAUSE_SECONDS if self._in_force(now) else FIRST_PAUSE_SECONDS)

    async def _ask(self, now: float) -> None:
        """Wait for the issuer: a short time where a set is in force, and a whole attempt for the first one."""
        if not self._may_ask(now):
            return
        seconds = self._limits.callers_deadline_seconds if self._in_force(now) else self._limits.attempt_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._flights.join(self._name, partial(self._read, now))
        except SentAway:
            return
        except TimeoutError:
            # The flight goes on, and counts when it ends. The first token whose wait ended reports it for all.
            if self._may_ask(later := self._clock().boot):
                self._fail(later, f"no answer within {seconds:g} s")

    async def _read(self, begun: float) -> None:
        """Ask the issuer once; a failure changes nothing."""
        seconds = self._limits.caller_budget_seconds
        try:
            async with asyncio.timeout(seconds):
                keys = await self._fetch()
        except TimeoutError:
            self._fail(begun, f"no answer within {seconds:g} s")
        except VendError as error:
            self._fail(begun, error.cause)
        except Exception as error:  # noqa: BLE001  # a defect of ours is no reason to refuse known keys
            self._fail(begun, type(error).__name__)
        else:
            self._put_in_force(keys)
            self._last_success = self._last_attempt = begun
            self._is_failing = False

    def _put_in_force(self, keys: KeySet) -> None:
        if self._keys is not None and self._keys.digest == keys.digest:
            return  # what was verified with the set stays verified
        if self._keys is not None:
            self._events.defer(catalogue.IssuerKeysChanged(issuer=self._name, count=len(keys.keys)))
        self._keys = keys

    def _fail(self, begun: float, cause: str) -> None:
        self._last_attempt = max(self._last_attempt, begun)
        self._is_failing = True
        self._events.defer(catalogue.IssuerUnread(issuer=self._name, outcome=self._kept(), cause=cause))

    def _kept(self) -> Kept:
        return "none" if self._in_force(self._clock().boot) is None else "last good one kept"

    def _unavailable(self) -> Unavailable:
        return Unavailable(cause=f"issuer {self._name}: its keys cannot be read")
