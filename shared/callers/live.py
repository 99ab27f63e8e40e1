"""The callers document as it is now: it is loaded, revalidated, and asked for the caller of a key or of an identity.

Theory of operation
===================

The document lies in a file or a blob, and an operator changes it while the app runs. The worker has one good version of
it in force, with two instants of the boot clock:

    last_success    when the last check began that found the document good, changed or not
    last_attempt    when the last check began whose outcome is known, a timeout among them

    age of last_attempt                     a request
    under `callers_refresh_seconds`         uses what is in force
    under `callers_must_check_seconds`      uses what is in force; a check runs in the background
    older                                   waits for the check, at most `callers_deadline_seconds`; for the first
                                            document of a worker, `attempt_seconds`

Once a check is `shed_after_seconds` old, no more than `waiting_max` wait for it: for the others their wait is over.
A failed check counts as an attempt, so nobody waits for a source that is down until the next check must come first.
The document stays in force until `last_success` is `callers_max_age_seconds` old. After that everybody is refused.

One check runs at a time, shared by all requests; only the end of a check changes anything (`_check`). A document is put
in force at once (`_put_in_force`): a reader sees the old one or the new one. A caller who was taken out is therefore
refused within `callers_must_check_seconds` while the document can be read.

What a document means, and what its mistakes cost, is decided in `shared/core/documents/callers.py`. A mistake in an
entry costs that caller. Two rules know what was before, and refuse the document; the one in force then stays:

    `generation` is lower than one that this worker has had in force
    mistakes would take everything from more than half of the callers that are served now

A worker that serves nobody has no callers to lose, and takes a document entry by entry. So after a mishap the workers
can differ: a new one takes what an older one refuses. `facts` has the digests by which an operator sees that.
"""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol

from shared.callers.endings import Endings
from shared.callers.health import DocumentFacts, DocumentHealth, check_document
from shared.core.check import Check
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.documents.content import Content
from shared.core.documents.toml import DocumentError, first_of
from shared.core.errors import NotReady, UnknownCaller, VendError
from shared.core.identity_token import Subject, refused
from shared.core.limits import Limits
from shared.core.policy import Caller, Deployment
from shared.core.token import Moment
from shared.single_flight import Flights, SentAway, Shedding
from shared.telemetry import catalogue
from shared.telemetry.catalogue.fields import Kept
from shared.telemetry.event import Event
from shared.telemetry.events import Events


class Source(Protocol):
    """Where the document lies."""

    @property
    def name(self) -> str:
        """The name of the document in events."""

    def read(self, etag: str) -> Awaitable[Content | None]:
        """Return the document, or None where its ETag is this one; raise a `VendError` where it cannot be read."""


class _Version(NamedTuple):
    """A document that was read, with everything that is wrong with it."""

    digest: str
    mistakes: tuple[str, ...]


class Callers:
    """The callers, by the document as it is now.

    Args:
        source: of the document.
        deployment: what the document may name.
        pool: where a document is parsed: a large one takes a while.
        limits: the knobs.
        clock: both clocks.
        events: where mistakes are reported.
        on_new_generation: called when the document raises its `generation`.
    """

    def __init__(
        self,
        source: Source,
        deployment: Deployment,
        *,
        pool: Executor,
        limits: Limits,
        clock: Callable[[], Moment],
        events: Events,
        on_new_generation: Callable[[], None],
    ) -> None:
        self._source = source
        self._deployment = deployment
        self._pool = pool
        self._limits = limits
        self._clock = clock
        self._events = events
        self._on_new_generation = on_new_generation
        # A check bounds itself, so that its timeout counts as an attempt; this bound is never the first.
        self._flights = Flights[str, None](
            seconds=2 * limits.caller_budget_seconds,
            shedding=Shedding(after=lambda: limits.shed_after_seconds, most=limits.waiting_max),
        )
        self._document: CallersDocument | None = None
        self._version: _Version | None = None
        self._newest: _Version | None = None
        self._endings = Endings()
        self._generation: int | None = None  # outlives a document that grew too old, as the tokens do
        self._etag = ""
        self._last_success = -math.inf
        self._last_attempt = -math.inf

    def revalidate(self, now: float) -> Awaitable[None] | None:
        """Start a check of the document where one is due.

        Args:
            now: by the boot clock.

        Returns:
            What the answer must wait for, or None. It raises nothing.
        """
        age = now - self._last_attempt
        if age < self._limits.callers_refresh_seconds:
            return None
        if age < self._limits.callers_must_check_seconds:
            self._flights.start(self._source.name, partial(self._check, now))
            return None
        return self._wait(now)

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Return the caller of a key.

        Args:
            key: as it was presented.
            host_checked: whether the host has accepted it; only then the entry `"*"` counts.

        Raises:
            UnknownCaller: no caller has this key, or the caller has expired.
            NotReady: no valid document is in force.
        """
        document = self._required()
        # The hash is looked up, never the key: the time that a look-up takes reveals nothing about any key.
        digest = _digest(key)
        caller = document.caller_of(digest, host_checked=host_checked)
        if caller is None:
            owner = document.owners.get(digest)
            raise UnknownCaller(cause=f"the entry of {owner} has mistakes" if owner else "unknown key")
        if self._is_over(caller):
            raise UnknownCaller(cause=f"the time of {caller.name} is over")
        return caller

    def identify_subject(self, identity: Subject) -> Caller:
        """Return the caller of an identity that a token has proved.

        Raises:
            UnknownIdentity: no caller has it, or the caller has expired.
            NotReady: no valid document is in force.
        """
        caller = self._required().caller_with(identity)
        if caller is None:
            raise refused("of no caller", issuer=identity.issuer)
        if self._is_over(caller):
            raise refused(f"the time of {caller.name} is over", issuer=identity.issuer)
        return caller

    def has(self, identity: Subject) -> bool:
        """Return whether a caller has an identity, expired or not; raise `NotReady` where nobody knows."""
        return self._required().caller_with(identity) is not None

    def owner_of(self, key: str) -> str | None:
        """Return the name of the entry that has a key, good or not; raise `NotReady` where nobody knows."""
        return self._required().owners.get(_digest(key))

    def _required(self) -> CallersDocument:
        document = self._in_force(self._clock().boot)
        if document is None:
            raise NotReady(cause="no valid callers document")
        return document

    def _is_over(self, caller: Caller) -> bool:
        return caller.is_expired(datetime.fromtimestamp(self._clock().wall, UTC))

    async def health(self) -> DocumentHealth:
        """Return the health of the document, after a check that must come first."""
        now = self._clock().boot
        due = self.revalidate(now)
        if due is not None:
            await due
        document = self._in_force(now)
        age = now - self._last_success if document else None
        return DocumentHealth(
            age,
            is_failing=self._last_attempt > self._last_success,
            refused=_count(document),
            ending=self._endings.late(self._clock().wall) if document else 0,
        )

    @property
    def facts(self) -> DocumentFacts:
        """Which document this worker goes by."""
        document = self._in_force(self._clock().boot)
        return DocumentFacts(
            in_force=self._version.digest if self._version and document else None,
            newest=self._newest.digest if self._newest else None,
            refused=_count(document),
            generation=self._generation,
        )

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Every mistake and warning of the newest document that was read, each by its dotted key."""
        return self._newest.mistakes if self._newest else ()

    async def check(self) -> Check:
        """Return the line of the callers document."""
        return check_document(await self.health())

    def _in_force(self, now: float) -> CallersDocument | None:
        return self._document if now - self._last_success <= self._limits.callers_max_age_seconds else None

    async def _wait(self, now: float) -> None:
        """Wait for a check: a short time where a document is in force, and a whole attempt for the first one.

        A new worker has no older document, and on a cold instance the first token of the app's identity takes its time.
        """
        has_one = self._in_force(now) is not None
        seconds = self._limits.callers_deadline_seconds if has_one else self._limits.attempt_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._flights.join(self._source.name, partial(self._check, now))
        except SentAway:
            return
        except TimeoutError:
            # The check goes on, and counts when it ends. The first request whose wait ended reports it for all.
            if now - self._last_attempt >= self._limits.callers_refresh_seconds:
                self._last_attempt = now
                self._events.defer(self._unread(f"no answer within {seconds:g} s"))

    async def _check(self, begun: float) -> None:
        """Check the document once, and put it in force if it has changed; a failure changes nothing."""
        seconds = self._limits.caller_budget_seconds
        try:
            async with asyncio.timeout(seconds):
                content = await self._source.read(self._etag)
                if content is None:
                    self._newest = self._version
                else:
                    await self._read(content)
            self._last_success = self._last_attempt = begun
            if (ending := self._endings.due(self._clock().wall)) is not None:
                self._events.defer(ending)
        except TimeoutError:
            self._fail(begun, self._unread(f"no answer within {seconds:g} s"))
        except DocumentError as error:
            self._fail(begun, self._invalid(error.mistakes))
        except VendError as error:
            self._fail(begun, self._unread(error.cause))
        except Exception as error:  # noqa: BLE001  # a defect of ours is no reason to refuse known callers
            self._fail(begun, self._unread(type(error).__name__))

    async def _read(self, content: Content) -> None:
        """Put a document in force, or raise a `DocumentError` with its mistakes."""
        try:
            document = await asyncio.get_running_loop().run_in_executor(self._pool, self._parse, content.text)
        except DocumentError as error:
            self._newest = _Version(content.digest, tuple(error.mistakes))
            raise
        self._newest = _Version(content.digest, document.mistakes + document.warnings)
        self._put_in_force(document, self._newest)
        self._etag = content.etag

    def _parse(self, text: bytes) -> CallersDocument:
        """Return a document, or raise a `DocumentError` where it may not follow those that were in force.

        It runs in the pool and changes nothing. One check runs at a time, so nothing is changed meanwhile.
        """
        known = self._deployment
        document = parse_callers(text, known.offers, name=self._source.name, issuers=known.issuers)
        if self._generation is not None and document.generation < self._generation:
            what = f"generation: is less than {self._generation}, which was in force; it never goes down"
            raise DocumentError([what, *document.mistakes])
        now = self._clock()
        if (in_force := self._in_force(now.boot)) is not None:
            in_force.check_successor(document, offers=known.offers, now=datetime.fromtimestamp(now.wall, UTC))
        return document

    def _put_in_force(self, document: CallersDocument, version: _Version) -> None:
        if self._generation is not None and document.generation > self._generation:
            self._on_new_generation()
        digest, is_first = version.digest, self._document is None
        self._document, self._version, self._generation = document, version, document.generation
        self._endings.replace(document.callers)
        if not is_first:
            count, generation = len(document.served), document.generation
            self._events.defer(catalogue.CallersChanged(count=count, generation=generation, in_force=digest))
        if document.mistakes:
            mistakes = first_of(document.mistakes)
            self._events.defer(catalogue.CallersRefused(count=_count(document), in_force=digest, mistakes=mistakes))
        if document.warnings:
            self._events.defer(catalogue.CallersWarning(in_force=digest, warnings=first_of(document.warnings)))

    def _fail(self, begun: float, event: Event) -> None:
        self._last_attempt = max(self._last_attempt, begun)
        self._etag = ""  # the next read is of the whole document, whatever it was that failed
        self._events.defer(event)

    def _invalid(self, mistakes: list[str]) -> catalogue.CallersInvalid:
        assert self._newest is not None  # it has these mistakes
        return catalogue.CallersInvalid(
            outcome=self._kept(),
            in_force=self.facts.in_force,
            newest=self._newest.digest,
            mistakes=first_of(mistakes),
        )

    def _unread(self, cause: str) -> catalogue.CallersUnread:
        return catalogue.CallersUnread(outcome=self._kept(), cause=f"{self._source.name}: {cause}")

    def _kept(self) -> Kept:
        return "none" if self._in_force(self._clock().boot) is None else "last good one kept"


def _count(document: CallersDocument | None) -> int:
    return len(document.refused | document.unresolved) if document else 0


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
