"""The seam of credential kinds: what every way to prove a client has in common."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.core.check import Check, State
from shared.core.token import Moment

WARN_BEFORE = timedelta(days=30)
"""How long before the end of a certificate its check is degraded."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The form fields by which a client proves itself to Entra.

    Args:
        fields: of the token request.
        version: of the credential that made them.
    """

    fields: Mapping[str, str] = field(repr=False)
    version: str


class Credential(Protocol):
    """One way to prove a client: one entry of `[[profiles.NAME.credentials]]`."""

    @property
    def version(self) -> str:
        """Names what a proof would be made with now; "" while that is not known."""

    @property
    def not_after(self) -> datetime | None:
        """When the credential ends; None while that is not known."""

    async def proof(self, audience: str, claims: str | None) -> Proof:
        """Return a proof for a token endpoint.

        Args:
            audience: the token endpoint.
            claims: of a challenge, in canonical form, for kinds that get their proof from an identity provider.

        Raises:
            OperatorError: there is no usable credential.
            Unavailable: the service that makes the proof is unavailable.
        """

    def refused(self, proof: Proof) -> None:
        """Drop what was cached of a proof that Entra has refused; another credential's proof changes nothing."""


def check_certificates(ends: Iterable[datetime | None], now: Moment) -> Check:
    """Return the check of the certificate that ends first; None is the end of one that was not read yet."""
    end = min((end for end in ends if end), default=None)
    if end is None:
        return Check(
            "certificate",
            State.DEGRADED,
            "not read yet",
            "until the vault has been read nothing can be signed",
            "see the check named token",
        )
    left = end - datetime.fromtimestamp(now.wall, UTC)
    detail = f"ends on {end:%Y-%m-%d}"
    if left > WARN_BEFORE:
        return Check("certificate", State.OK, detail)
    return Check(
        "certificate",
        State.DEGRADED,
        f"{detail}, in {max(0, left.days)} days",
        "from then on no token can be had",
        "make a new version and its public part known to Entra: docs/deployment.md, steps 3 and 4",
    )
