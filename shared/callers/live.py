"""The callers document: who calls, found by the hash of the key.

The document changes while the app runs, so it is checked again when it is old: behind the callers' backs at first, then
before the answer, so that a caller who was taken out is refused within `callers_must_check_seconds` while the document
can be read. It is swapped whole: a document with any mistake changes nothing, and the last good one stays in force, for
at most a day.
"""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.core.documents.settings import SettingsError, parse_toml, read_bytes
from shared.core.documents.table import read_table
from shared.core.errors import NotReady, UnknownCaller, VendError
from shared.core.limits import Limits
from shared.core.policy import EVERYBODY, Caller, Offer, caller_mistakes
from shared.core.token import Moment
from shared.single_flight import Flights
from shared.telemetry.events import Events, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersDocument:
    """callers.toml as a whole."""

    generation: int = 1
    callers: Mapping[str, Caller] = field(default_factory=dict)

    def by_key(self) -> Mapping[str, Caller]:
        """Index the callers by the SHA-256 of their keys."""
        return {digest: caller for caller in self.callers.values() for digest in caller.key_sha256}


def read_callers(path: Path, offers: Mapping[str, Offer] | None) -> CallersDocument:
    """Read the document from a file; as `parse_callers`."""
    return parse_callers(read_bytes(path), offers, name=path.name)


def parse_callers(text: bytes, offers: Mapping[str, Offer] | None, *, name: str) -> CallersDocument:
    """Read the document.

    Args:
        text: the document.
        offers: what the profiles can be asked for; None where that is not known, and nothing is held against it.
        name: of the document, in mistakes that have no place in it.

    Raises:
        SettingsError: with every mistake.
    """
    if not text.strip():
        # What a file is for a moment while somebody writes it, and what a mishap leaves; it would refuse everybody.
        raise SettingsError([f"{name}: is empty; a document for nobody says so by a generation alone"])
    mistakes: list[str] = []
    document = read_table(CallersDocument, parse_toml(text, name=name), at="", mistakes=mistakes)
    if not mistakes:
        mistakes += _mistakes(document, offers)
    if mistakes:
        raise SettingsError(mistakes)
    return document


def _mistakes(document: CallersDocument, offers: Mapping[str, Offer] | None) -> list[str]:
    found = []
    owners: dict[str, str] = {}
    for caller in document.callers.values():
        found += caller_mistakes(caller, offers)
        for index, digest in enumerate(caller.key_sha256):
            owner = owners.setdefault(digest, caller.name)
            if owner != caller.name:
                found.append(f"callers.{caller.name}.key_sha256[{index}]: is a key of {owner} too")
    return found


@dataclass(frozen=True, slots=True)
class Content:
    """A document as it is now."""

    etag: str
    text: bytes = field(repr=False)


class Source(Protocol):
    """Where the document lies."""

    @property
    def name(self) -> str:
        """What it is called in events."""

    def read(self, etag: str) -> Awaitable[Content | None]:
        """Read it, None if its ETag is this one still; raise a `VendError` if it cannot be read."""


class Standing(NamedTuple):
    """How the document stands.

    Args:
        age: seconds since a check found it to be good; None where none is in force.
        is_failing: whether the last check failed.
    """

    age: float | None
    is_failing: bool


class Callers:
    """Who calls, by the document as it is now.

    Args:
        source: of the document.
        offers: what the profiles can be asked for.
        pool: where a document is parsed, which takes a while if it is large.
        limits: the knobs.
        clock: both clocks.
        events: where mistakes are told.
        on_new_generation: called when the document's `generation` was raised.
    """

    def __init__(
        self,
        source: Source,
        offers: Mapping[str, Offer],
        *,
        pool: Executor,
        limits: Limits,
        clock: Callable[[], Moment],
        events: Events,
        on_new_generation: Callable[[], None],
    ) -> None:
        self._source = source
        self._offers = offers
        self._pool = pool
        self._limits = limits
        self._clock = clock
        self._events = events
        self._on_new_generation = on_new_generation
        self._flights = Flights[str, None]()
        self._document: CallersDocument | None = None
        self._by_key: Mapping[str, Caller] = {}
        self._generation: int | None = None  # outlives a document that grew too old, as the tokens do
        self._etag = ""
        self._good = -math.inf  # when the last check began that found the document good, or unchanged
        self._known = -math.inf  # when the last check began whose outcome is known, be it that there was none in time

    def check(self, now: float) -> Awaitable[None] | None:
        """Begin a check of the document if one is due.

        A check that failed counts as one: until the next is due before the answer, nobody waits.

        Args:
            now: by the boot clock.

        Returns:
            What the answer must wait for; None where it need not wait. It raises nothing.
        """
        age = now - self._known
        if age < self._limits.callers_refresh_seconds:
            return None
        if age < self._limits.callers_must_check_seconds:
            self._flights.start(self._source.name, partial(self._look, now))
            return None
        return self._wait(now)

    async def standing(self) -> Standing:
        """Tell how the document stands, once a check that is due before an answer is over."""
        now = self._clock().boot
        due = self.check(now)
        if due is not None:
            await due
        return Standing(now - self._good if self._in_force(now) else None, is_failing=self._known > self._good)

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Find the caller whose key this is.

        Args:
            key: that was presented.
            host_checked: whether the host has accepted it; where it has not, nobody is "everybody".

        Raises:
            UnknownCaller: nobody's, or the caller's time is over.
            NotReady: there is no valid document, or it was last seen too long ago.
        """
        now = self._clock()
        document = self._in_force(now.boot)
        if document is None:
            raise NotReady(cause="no valid callers document")
        caller = self._by_key.get(hashlib.sha256(key.encode()).hexdigest())
        if caller is None and host_checked:
            caller = document.callers.get(EVERYBODY)
        if caller is None:
            raise UnknownCaller(cause="unknown key")
        if caller.is_expired(datetime.fromtimestamp(now.wall, UTC)):
            raise UnknownCaller(cause=f"the time of {caller.name} is over")
        return caller

    def _in_force(self, now: float) -> CallersDocument | None:
        return self._document if now - self._good <= self._limits.callers_max_age_seconds else None

    async def _wait(self, now: float) -> None:
        """Wait for a check, as long as there is a document to go on with; for the first one a whole attempt."""
        has_one = self._in_force(now) is not None
        seconds = self._limits.callers_deadline_seconds if has_one else self._limits.attempt_seconds
        waiter = self._flights.join(self._source.name, partial(self._look, now))
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            # The check goes on, and counts when it lands. The first of those who waited tells, for all of them.
            if now - self._known >= self._limits.callers_refresh_seconds:
                self._known = now
                self._keep("callers_unread", cause=f"{self._source.name}: no answer within {seconds:g} s")

    async def _look(self, begun: float) -> None:
        """Check the document once, and swap it if it has changed; whatever goes wrong changes nothing."""
        try:
            content = await self._source.read(self._etag)
            if content is not None:
                loop = asyncio.get_running_loop()
                parse = partial(parse_callers, content.text, self._offers, name=self._source.name)
                self._swap(await loop.run_in_executor(self._pool, parse))
                self._etag = content.etag
            self._good = self._known = begun
        except SettingsError as error:
            self._fail(begun, "callers_invalid", mistakes=error.mistakes)
        except VendError as error:
            self._fail(begun, "callers_unread", cause=f"{self._source.name}: {error.cause}")
        except Exception as error:  # noqa: BLE001  # a defect of ours is no reason to refuse those who are known
            self._fail(begun, "callers_unread", cause=f"{self._source.name}: {type(error).__name__}")

    def _swap(self, document: CallersDocument) -> None:
        if self._generation is not None and document.generation > self._generation:
            self._on_new_generation()
        if self._document is not None:
            self._events.defer("callers_changed", count=len(document.callers), generation=document.generation)
        self._document, self._by_key, self._generation = document, document.by_key(), document.generation

    def _fail(self, begun: float, event: str, **facts: Value) -> None:
        self._known = max(self._known, begun)
        self._keep(event, **facts)

    def _keep(self, event: str, **facts: Value) -> None:
        kept = self._in_force(self._clock().boot) is not None
        self._events.defer(event, outcome="last good one kept" if kept else "none", **facts)
