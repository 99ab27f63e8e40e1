"""The chain of a client: every key, secret and identity that can prove it, and which to ask Entra with next.

Theory of operation
===================

Each credential of the profile has links: a certificate in Key Vault has one for each usable version, other kinds have
one. A flight asks Entra with one link after the other until one is accepted. What becomes of a link:

    Entra accepts its proof           the flights of this worker ask with it first
    Entra refuses it                  it rests, and nothing is asked with it while the refusal is remembered
    its proof cannot be made now      this flight passes it over; it does not rest
    its proof meets a defect of vend  it rests, as after a refusal
    its credential lacks it           it is forgotten: other facts are another link

Resting orders links and never empties the chain: links that rest come last. Where every link was refused, the next
flight asks with all of them as soon as the refusals are no longer remembered. So a certificate that is registered late
is used within a minute, however long it has been refused.

While Entra accepts no link and has refused one, the flights of the chain take turns (`turn`). Each then passes over
what another has found refused, and asks with what another has found accepted. All at once they would ask with the same
links, and each would end at the limit of one flight where a link further on would have served.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

from shared.core.entra.links import in_order
from shared.core.errors import Defect, UpstreamError
from shared.core.limits import Limits
from shared.credentials.credential import Credential, Link
from shared.single_flight import Flights
from shared.system import System

REST_SECONDS = 600.0
"""How long a link rests after its first refusal; twice as long after each further one in a row."""
LONGEST_REST_SECONDS = 6 * 3_600.0
REST_JITTER = 0.1
REREAD_SECONDS = 10.0
"""The shortest time from one reading of a credential to the next."""
RETRY_SECONDS = 60.0
"""The shortest time from one attempt to read a credential that nobody waits for to the next."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The memory of a refused link; both times are by the boot clock.

    Args:
        error: the refusal; it is never raised itself.
        refusals: how many in a row.
        until: end of the rest.
        remembered_until: before it, nothing is asked with this link.
    """

    error: UpstreamError
    refusals: int
    until: float
    remembered_until: float


class Chain:
    """The links of one client, and what this worker has learned of them.

    Args:
        credentials: at least one, in the order of the profile.
        limits: the knobs.
        system: clocks and chance.
    """

    def __init__(self, credentials: Sequence[Credential], *, limits: Limits, system: System) -> None:
        self._credentials = credentials
        self._limits = limits
        self._clock = system.clock
        self._chance = system.chance
        self._accepted: str | None = None
        self._rests: dict[str, Rest] = {}
        self._readings: Flights[int, None] = Flights(seconds=limits.caller_budget_seconds)
        self._read_at: dict[int, float] = {}
        self._tried_at: dict[int, float] = {}
        self._search = asyncio.Lock()  # first come, first served

    @property
    def version(self) -> str:
        """Names the set of usable links; "" while none is known."""
        return " ".join(sorted(link.id for link in self._links()))

    @property
    def accepted(self) -> Link | None:
        """The link that Entra accepted last, while it is usable."""
        return next((link for link in self._links() if link.id == self._accepted), None)

    @property
    def refused(self) -> Sequence[Link]:
        """The usable links that Entra has refused and not accepted since, whether or not their rest is over."""
        return [link for link in self._links() if link.id in self._rests]

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Wait for the turn of a flight to make a proof and to ask Entra with it; usually nobody waits.

        What Entra has answered must be taken in before the flight awaits anything else: the next turn begins then.

        Args:
            patience: seconds after which a flight no longer waits for the others, which may all hang.
        """
        is_held = self._is_searched() and await self._take_turn(patience)
        if is_held and not self._is_searched():
            self._search.release()
            is_held = False
        try:
            yield
        finally:
            if is_held:
                self._search.release()

    def is_resting(self, link: str) -> bool:
        """Return whether the link with this id comes after the others: not long ago, Entra has refused it."""
        return link in self._rests and self._clock.boot() < self._rests[link].until

    def ordered(self, *, is_trial: bool) -> list[Link]:
        """Return the known links in the order in which a flight asks with them.

        Args:
            is_trial: whether the newest version that is old enough goes first, because nobody waits.
        """
        return in_order(
            [credential.links for credential in self._credentials],
            accepted=self._accepted,
            is_resting=self.is_resting,
            now=datetime.fromtimestamp(self._clock.wall(), UTC),
            is_trial=is_trial,
        )

    def unread(self) -> list[int]:
        """Return the places in the profile of the credentials of which no usable link is known."""
        return [at for at, credential in enumerate(self._credentials) if not credential.links]

    def read(self) -> list[int]:
        """Return the places in the profile of the credentials of which a usable link is known."""
        return [at for at, credential in enumerate(self._credentials) if credential.links]

    def places(self, link: Link) -> list[int]:
        """Return the places in the profile of the credentials that have a link."""
        return [at for at, each in enumerate(self._credentials) if link.id in {known.id for known in each.links}]

    def keep_fresh(self, report: Callable[[UpstreamError], None]) -> None:
        """Start to read the credentials that are known and were read long ago; nobody waits for it.

        Args:
            report: reports that one could not be read.
        """
        now = self._clock.boot()
        for at, credential in enumerate(self._credentials):
            if credential.links and credential.is_old and now - self._tried_at.get(at, -inf) >= RETRY_SECONDS:
                self._tried_at[at] = now
                self._readings.start(at, partial(self._read_reporting, at, report))

    async def reread(self, at: int) -> bool:
        """Read a credential, and return whether it was read: not twice within `REREAD_SECONDS`.

        Raises:
            UpstreamError: as `Credential.read`; `Defect` for any other exception of it.
        """
        if at in self._readings or self._may_read(at):
            await self._readings.join(at, partial(self._read, at))
            return True
        return False

    def accept(self, link: Link) -> bool:
        """Remember that Entra has accepted a link, and return whether it was another one before."""
        changed = self._accepted != link.id
        self._accepted = link.id
        self._rests.pop(link.id, None)
        return changed

    def refuse(self, link: Link, error: UpstreamError) -> float:
        """Let a link rest, and return for how many seconds: 0 where its refusal is known from another flight."""
        now, last = self._clock.boot(), self._rests.get(link.id)
        if last and now < last.remembered_until:
            return 0.0
        refusals = last.refusals + 1 if last else 1
        seconds = min(REST_SECONDS * 2.0 ** min(refusals - 1, 10), LONGEST_REST_SECONDS)
        seconds *= 1 + REST_JITTER * (2 * self._chance() - 1)
        named = error.upstream_wait or timedelta(seconds=self._limits.failure_permanent_seconds)
        wait = min(named.total_seconds(), self._limits.retry_after_cap_seconds)
        known = {each.id for each in self._links()}
        self._rests = {name: rest for name, rest in self._rests.items() if name in known}
        self._rests[link.id] = Rest(
            error=error.with_wait(error.wait),  # without the traceback, whose frames hold what was sent
            refusals=refusals,
            until=now + seconds,
            remembered_until=now + wait,
        )
        if self._accepted == link.id:
            self._accepted = None
        return seconds

    def remembered(self, link: Link) -> UpstreamError | None:
        """Return the refusal of a link that is remembered, with the wait that is left; None where there is none."""
        rest, now = self._rests.get(link.id), self._clock.boot()
        if rest is None or now >= rest.remembered_until:
            return None
        left = timedelta(seconds=rest.remembered_until - now)
        error = rest.error.with_wait(left)
        error.upstream_wait = left
        return error

    def _is_searched(self) -> bool:
        """Return whether no link is known to be accepted, and one to be refused."""
        return self.accepted is None and bool(self.refused)

    async def _take_turn(self, patience: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return await self._search.acquire()
        return False

    def _links(self) -> Iterator[Link]:
        return (link for credential in self._credentials for link in credential.links)

    def _may_read(self, at: int) -> bool:
        return at not in self._read_at or self._clock.boot() - self._read_at[at] >= REREAD_SECONDS

    async def _read_reporting(self, at: int, report: Callable[[UpstreamError], None]) -> None:
        try:
            await self._read(at)
        except UpstreamError as error:
            report(error)
            raise

    async def _read(self, at: int) -> None:
        try:
            await self._credentials[at].read()
        except UpstreamError:
            raise
        except Exception as error:  # noqa: BLE001  # a defect in one credential must not hide the others
            failure = Defect(cause=type(error).__name__)
        else:
            self._read_at[at] = self._clock.boot()
            return
        # Outside of the except block, so that the error that holds what was read is no part of this one.
        raise failure
