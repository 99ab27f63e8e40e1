"""Federated assertions: the token of an identity of the app, or of an identity provider that writes it into a file.

The app has no key, and nothing is to be rotated.
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
"""

from collections.abc import Awaitable, Callable

from shared.core.entra.assertion import assertion_fields
from shared.credentials.certificate_link import LinkFacts
from shared.credentials.credential import Proof


class AssertionLink:
    """An assertion that another service makes.

    Args:
        facts: of the link.
        get: returns the assertion, for the claims of a challenge if there are any; it raises the errors of
            `Link.proof`.
    """

    has_clock = False

    def __init__(self, facts: LinkFacts, *, get: Callable[[str | None], Awaitable[str]]) -> None:
        self.id = facts.id
        self.created = facts.created
        self.not_after = facts.not_after
        self._get = get

    async def proof(self, audience: str, claims: str | None, *, clock_ahead: float) -> Proof:  # noqa: ARG002  # see Link
        """Return the assertion as it is now; errors as in `Link`."""
        return Proof(assertion_fields(await self._get(claims)))

    def drop(self, proof: Proof) -> bool:  # noqa: ARG002  # nothing of it is cached here
        """Drop nothing: the assertion is asked for each time, and its maker decides when it is another one."""
        return False
