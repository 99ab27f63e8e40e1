"""The callers document: who calls, found by the hash of the key.

The document changes while the app runs, so it is read again when it is old. It is swapped whole: a document with any
mistake changes nothing, and the last good one stays in force, for at most a day.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from shared.audit import Events
from shared.core.document import read_table
from shared.core.errors import NotReady, UnknownCaller
from shared.core.limits import Limits
from shared.core.policy import EVERYBODY, Caller, Offer, caller_mistakes
from shared.core.token import Moment
from shared.settings import SettingsError, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersDocument:
    """callers.toml as a whole."""

    generation: int = 1
    callers: Mapping[str, Caller] = field(default_factory=dict)

    def by_key(self) -> Mapping[str, Caller]:
        """Index the callers by the SHA-256 of their keys."""
        return {digest: caller for caller in self.callers.values() for digest in caller.key_sha256}


def read_callers(path: Path, offers: Mapping[str, Offer] | None) -> CallersDocument:
    """Read the document.

    Args:
        path: of the document.
        offers: what the profiles can be asked for; None where that is not known, and nothing is held against it.

    Raises:
        SettingsError: with every mistake.
    """
    mistakes: list[str] = []
    document = read_table(CallersDocument, read_toml(path), at="", mistakes=mistakes)
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


class Callers:
    """Who calls, by the document as it is now.

    Args:
        path: of the document.
        offers: what the profiles can be asked for.
        limits: the knobs.
        clock: both clocks.
        events: where mistakes are told.
        on_new_generation: called when the document's `generation` was raised.
    """

    def __init__(
        self,
        path: Path,
        offers: Mapping[str, Offer],
        *,
        limits: Limits,
        clock: Callable[[], Moment],
        events: Events,
        on_new_generation: Callable[[], None],
    ) -> None:
        self._path = path
        self._offers = offers
        self._limits = limits
        self._clock = clock
        self._events = events
        self._on_new_generation = on_new_generation
        self._document: CallersDocument | None = None
        self._by_key: Mapping[str, Caller] = {}
        self._generation: int | None = None  # outlives a document that grew too old, as the tokens do
        self._stamp: tuple[int, int, int] | None = None
        self._looked: float | None = None
        self._good = 0.0

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Find the caller whose key this is.

        Args:
            key: that was presented.
            host_checked: whether the host has accepted it; where it has not, nobody is "everybody".

        Raises:
            UnknownCaller: nobody's, or the caller's time is over.
            NotReady: there is no valid document.
        """
        now = self._clock()
        self._look(now)
        if self._document is None:
            raise NotReady(cause="no valid callers document")
        caller = self._by_key.get(hashlib.sha256(key.encode()).hexdigest())
        if caller is None and host_checked:
            caller = self._document.callers.get(EVERYBODY)
        if caller is None:
            raise UnknownCaller(cause="unknown key")
        if caller.is_expired(datetime.fromtimestamp(now.wall, UTC)):
            raise UnknownCaller(cause=f"the time of {caller.name} is over")
        return caller

    def _look(self, now: Moment) -> None:
        """Read the document if it has changed, unless the last look was a moment ago."""
        if self._looked is not None and now.boot - self._looked < self._limits.callers_refresh_seconds:
            return
        self._looked = now.boot
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._swap(read_callers(self._path, self._offers))
                self._stamp = stamp
            self._good = now.boot
        except OSError as error:
            self._keep(now, [f"{self._path.name}: cannot be read ({type(error).__name__})"])
        except SettingsError as error:
            self._keep(now, error.mistakes)

    def _swap(self, document: CallersDocument) -> None:
        self._document, self._by_key = document, document.by_key()
        if self._generation is not None and document.generation > self._generation:
            self._on_new_generation()
        self._generation = document.generation

    def _keep(self, now: Moment, mistakes: list[str]) -> None:
        if now.boot - self._good > self._limits.callers_max_age_seconds:
            self._document, self._by_key, self._stamp = None, {}, None
        self._events.emit(
            "callers_invalid", mistakes=mistakes, outcome="none" if self._document is None else "last good one kept"
        )
