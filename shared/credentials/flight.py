"""One flight's way through the links of a chain: which proof it asks Entra with, and what a refusal of it means."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from shared.core.entra.proof_fault import ProofFault
from shared.core.errors import CredentialRefused, Defect, FederationPending, OperatorError, TimedOut, UpstreamError
from shared.credentials.chain import Chain
from shared.credentials.credential import Link, Proof

LINKS_PER_FLIGHT = 4
"""How many links one flight asks Entra with at the most, beside one that another flight has found accepted by then."""


class ChainFlight:
    """Chooses the proofs of one flight.

    Args:
        chain: of the client.
        in_background: whether nobody waits for this flight, so that it tries a newer link first.
        left: returns the seconds that the flight has left.
        report: reports that a link rests: which, why, and for how many seconds.
        report_unread: reports that a credential could not be read again, or met a defect of vend.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        in_background: bool,
        left: Callable[[], float],
        report: Callable[[Link, UpstreamError, float], None],
        report_unread: Callable[[UpstreamError], None],
    ) -> None:
        self._chain = chain
        self._in_background = in_background
        self._left = left
        self._report = report
        self._report_unread = report_unread
        self._link: Link | None = None
        self._proof: Proof | None = None
        self._asked: set[str] = set()  # ids of links whose proof Entra was asked with
        self._failed: dict[str | int, UpstreamError] = {}  # why, by the id of a link or the place of a credential
        self._read: set[int] = set()
        self._renewed: set[tuple[str, ProofFault]] = set()  # ids of links that have proved anew, and for what fault
        self._clock_ahead = 0.0
        self._is_refused = self._is_last = self._without_clock = False
        chain.keep_fresh(report_unread)

    @property
    def has_asked(self) -> bool:
        """Whether `proof` has returned a proof that `refused` has not dismissed."""
        return self._link is not None

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until this flight may call `proof` and ask; what it has learned by then orders its links."""
        return self._chain.turn(self._left() / 2)

    async def proof(self, audience: str, claims: str | None) -> Proof:
        """Return the proof to ask with: of the same link, until `refused` has dismissed it.

        Args:
            audience: the token endpoint.
            claims: of a challenge, in canonical form.

        Raises:
            UpstreamError: no link is left to ask with.
        """
        while True:
            link = self._link or await self._next()
            self._link = None
            try:
                async with asyncio.timeout(self._patience(besides=link)):
                    proof = await link.proof(audience, claims, clock_ahead=self._clock_ahead)
            except TimeoutError:
                self._failed[link.id] = TimedOut(cause="a proof could not be made in time")
            except OperatorError as error:
                await self._dismiss(link, error, reread=True)
            except UpstreamError as error:
                self._failed[link.id] = error
            except Exception as error:  # noqa: BLE001  # a defect in one link must not hide the others
                await self._dismiss(link, Defect(cause=type(error).__name__), reread=False)
            else:
                self._link, self._proof = link, proof
                self._asked.add(link.id)
                return proof

    async def refused(self, error: CredentialRefused) -> bool:
        """Take in that Entra has refused the last proof, and return whether the flight goes on with another one."""
        link, proof, is_last = self._link, self._proof, self._is_last
        assert link is not None
        assert proof is not None
        # What a federated credential lacks is no fault of the proof.
        is_new = not isinstance(error, FederationPending) and link.drop(proof)
        fault = error.fault
        if fault is ProofFault.UNNAMED and proof.is_reused:
            fault = ProofFault.ASSERTION
        renewal = link.id, fault
        if fault in {ProofFault.ASSERTION, ProofFault.CLOCK} and is_new and renewal not in self._renewed:
            self._renewed.add(renewal)
            if fault is ProofFault.CLOCK:
                self._clock_ahead = error.clock_ahead or 0.0
            return True
        self._link, self._is_refused = None, True
        match fault:
            case ProofFault.CLOCK if link.has_clock:
                self._failed[link.id] = error
                self._without_clock = True
            case ProofFault.UNNAMED | ProofFault.UNKNOWN:
                self._failed[link.id] = error
                self._is_last = True
            case _:
                await self._dismiss(link, error, reread=fault is ProofFault.SECRET)
        return not is_last

    def accepted(self) -> Link | None:
        """Take in that Entra has accepted the last proof, and return its link where it is another than before."""
        assert self._link is not None
        return self._link if self._chain.accept(self._link) else None

    async def _next(self) -> Link:
        """Return the next link to ask with; credentials are read where what is known is not enough."""
        if self._in_background:
            await self._read_one_of(self._chain.unread())
        while True:
            link = next((link for link in self._links() if self._may_ask(link)), None)
            if link and (len(self._asked) < LINKS_PER_FLIGHT or link is self._chain.accepted):
                return link
            if link or not await self._read_more():
                raise self._failure(links_left=link is not None)

    async def _read_more(self) -> bool:
        """Read a credential of which nothing is known, or those that are known once more after a refusal."""
        if await self._read_one_of(self._chain.unread()):
            return True
        return self._is_refused and any([await self._read_one_of([at]) for at in self._chain.read()])

    async def _read_one_of(self, places: Iterable[int]) -> bool:
        """Read the first of some credentials that can be read, each once in this flight; return whether one was."""
        for at in places:
            if at in self._read:
                continue
            self._read.add(at)
            try:
                async with asyncio.timeout(self._patience()):
                    if await self._chain.reread(at):
                        return True
            except TimeoutError:
                self._unread(at, TimedOut(cause="a credential could not be read in time"))
            except UpstreamError as error:
                self._unread(at, error)
        return False

    def _unread(self, at: int, error: UpstreamError) -> None:
        """Take in that a credential could not be read; where its links are known, that changes nothing."""
        if isinstance(error, Defect):
            self._report_unread(error)
        if at in self._chain.unread():
            self._failed[at] = error

    async def _dismiss(self, link: Link, error: UpstreamError, *, reread: bool) -> None:
        """Let a link rest; its credential is read again first where it may have another by now."""
        self._failed[link.id] = error
        if seconds := self._chain.refuse(link, error):
            self._report(link, error, seconds)
        if reread:
            await self._read_one_of(self._chain.places(link))

    def _links(self) -> list[Link]:
        return self._chain.ordered(is_trial=self._in_background)

    def _may_ask(self, link: Link) -> bool:
        if link.id in self._failed or (link.has_clock and self._without_clock):
            return False
        return self._chain.remembered(link) is None

    def _patience(self, *, besides: Link | None = None) -> float | None:
        """Return the seconds to wait for one link or credential: half of what is left where there is another."""
        others = any(self._may_ask(link) for link in self._links() if link is not besides)
        unread = any(at not in self._read for at in self._chain.unread())
        return self._left() / 2 if others or unread else None

    def _failure(self, *, links_left: bool) -> UpstreamError:
        """Return why no link is left: of several reasons the one that may pass, or else that of the first link.

        What may pass is forgotten, so that the flight can try once more.
        """
        errors = [self._failed.get(link.id) or self._chain.remembered(link) for link in self._links()]
        reasons = [error for error in (*errors, *self._failed.values()) if error]
        self._failed = {name: error for name, error in self._failed.items() if not error.retryable}
        self._read = set()
        if not reasons:
            return OperatorError(cause="no credential of the profile is usable")
        chosen = next((error for error in reasons if error.retryable), reasons[0])
        if isinstance(chosen, CredentialRefused):
            chosen.links_left = links_left
        return chosen
