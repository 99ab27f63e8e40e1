"""The seam of credential kinds: what every way to prove a client has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Proof:
    """The form fields by which a client proves itself to Entra.

    Args:
        fields: of the token request.
        is_reused: whether they are an assertion that was sent before.
    """

    fields: Mapping[str, str] = field(repr=False)
    is_reused: bool = False


class Link(Protocol):
    """One key, secret or identity that can prove the client."""

    @property
    def id(self) -> str:
        """Names the link among all of its chain; other facts have another id."""

    @property
    def created(self) -> datetime | None:
        """When this version was made; None for a link that has no versions."""

    @property
    def not_after(self) -> datetime | None:
        """When the link ends; None where it has no end, or none that is known."""

    @property
    def has_clock(self) -> bool:
        """Whether its proofs hold times of our clock."""

    async def proof(self, audience: str, claims: str | None, *, clock_ahead: float) -> Proof:
        """Return a proof for a token endpoint.

        Args:
            audience: the token endpoint.
            claims: of a challenge, in canonical form, for kinds that get their proof from an identity provider.
            clock_ahead: seconds that our wall clock is known to be ahead of Entra's.

        Raises:
            OperatorError: the link cannot make one until the operator mends something.
            Unavailable: the service that makes the proof is unavailable.
        """

    def drop(self, proof: Proof) -> bool:
        """Drop a proof that Entra refused, and return whether the next one will be another."""


class Credential(Protocol):
    """One entry of `[[profiles.NAME.credentials]]`: links that are usable now, as far as they are known."""

    @property
    def links(self) -> Sequence[Link]:
        """The usable links as of the last reading; none before the first."""

    @property
    def is_old(self) -> bool:
        """Whether the last reading is so long ago that the next one is due."""

    async def read(self) -> None:
        """Read which links there are; what was known stays where that fails.

        Raises:
            OperatorError: no link is usable, or the operator must mend something first.
            Unavailable: the service that has them is unavailable.
        """
