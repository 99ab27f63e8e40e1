"""The credentials of a profile in their order: the first that Entra has not refused makes the proof."""

from collections.abc import Sequence
from datetime import datetime

from shared.credentials.credential import Credential, Proof


class Chain:
    """Ordered credentials of one client.

    A refusal orders the links and never empties the chain: once all links were refused, all count again.

    Args:
        links: at least one.
    """

    def __init__(self, links: Sequence[Credential]) -> None:
        self._links = links
        self._refused: set[str] = set()

    @property
    def version(self) -> str:
        """Names what the next proof would be made with; "" while that is not known."""
        return self._next.version

    @property
    def not_after(self) -> datetime | None:
        """When the first of the links ends whose end is known."""
        return min((link.not_after for link in self._links if link.not_after), default=None)

    async def proof(self, audience: str, claims: str | None) -> Proof:
        """Return a proof by the first link that was not refused; errors as in `Credential`."""
        return await self._next.proof(audience, claims)

    def refused(self, proof: Proof) -> bool:
        """Drop a refused proof, and return whether a link is left that was not refused."""
        for link in self._links:
            link.refused(proof)
        self._refused.add(proof.version)
        if any(link.version not in self._refused for link in self._links):
            return True
        self._refused.clear()
        return False

    @property
    def _next(self) -> Credential:
        return next((link for link in self._links if link.version not in self._refused), self._links[0])
