"""Federated assertions: the token of an identity of the app, or of an identity provider that writes it into a file.

The app has no key, and nothing is to be rotated.
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
"""

import hashlib
from collections.abc import Awaitable
from typing import Protocol

from shared.core.entra.assertion import assertion_fields
from shared.credentials.certificate_link import LinkFacts
from shared.credentials.credential import Proof


class GetAssertion(Protocol):
    """Gets the assertion from the service that makes it."""

    def __call__(self, claims: str | None, *, refused: str | None) -> Awaitable[str]:
        """Return the assertion; errors as in `Link.proof`.

        Args:
            claims: of a challenge, if there is one.
            refused: the SHA-256 of the assertion that Entra has refused last, so that it is not got from a cache again.
        """


class AssertionLink:
    """An assertion that another service makes.

    Args:
        facts: of the link.
        get: gets the assertion.
    """

    has_clock = False

    def __init__(self, facts: LinkFacts, *, get: GetAssertion) -> None:
        self.id = facts.id
        self.created = facts.created
        self.not_after = facts.not_after
        self._get = get
        self._refused: str | None = None

    async def proof(self, audience: str, claims: str | None, *, clock_ahead: float) -> Proof:  # noqa: ARG002  # see Link
        """Return the assertion as it is now; errors as in `Link`."""
        return Proof(assertion_fields(await self._get(claims, refused=self._refused)))

    def drop(self, proof: Proof) -> bool:
        """Remember which assertion was refused. Its maker decides whether there is another one yet."""
        self._refused = hashlib.sha256(proof.fields["client_assertion"].encode()).hexdigest()
        return False
