"""The credential `type = "secret"`: a client secret, from Key Vault or from an app setting."""

from collections.abc import Awaitable, Callable

from shared.core.errors import OperatorError
from shared.credentials.certificate_link import LinkFacts
from shared.credentials.credential import Proof

_REMEDY = "set it again: docs/credentials.md"


class SecretLink:
    """One version of a client secret.

    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#first-case-access-token-request-with-a-shared-secret

    Args:
        facts: of the link.
        load: returns the secret; it raises the errors of `Link.proof`.
    """

    has_clock = False

    def __init__(self, facts: LinkFacts, *, load: Callable[[], Awaitable[str]]) -> None:
        self.id = facts.id
        self.created = facts.created
        self.not_after = facts.not_after
        self._load = load
        self._secret = ""

    async def proof(self, audience: str, claims: str | None, *, clock_ahead: float) -> Proof:  # noqa: ARG002  # see Link
        """Return the secret; errors as in `Link`."""
        if not self._secret:
            self._secret = await self._load()
        if not self._secret:
            raise OperatorError(cause="the client secret is empty", remedy=_REMEDY)
        if not (self._secret.isascii() and self._secret.isprintable()):
            raise OperatorError(cause="the client secret has characters that no secret of Entra has", remedy=_REMEDY)
        return Proof({"client_secret": self._secret})

    def drop(self, proof: Proof) -> bool:  # noqa: ARG002  # a version never changes
        """Drop nothing: another secret is another link."""
        return False
