"""The authentication of clients: secrets, assertions by a registered certificate, and tokens of a trusted issuer.

The directory alone decides: Entra accepts what is registered there and has spread.
"""

import hashlib
from dataclasses import dataclass

from emulator.directory.objects import Application, Tenant
from emulator.directory.store import Directory
from emulator.entra import assertion, federation
from emulator.entra.access_tokens import AccessTokens
from emulator.entra.assertion import Proof
from emulator.entra.errors import aadsts, reused
from emulator.entra.token_form import Demand


@dataclass(frozen=True)
class Reuse:
    """The name of an assertion that a server takes once: its client and its `jti`."""

    client_id: str
    jti: str


class Clients:
    """Authenticates the clients of one directory.

    Attributes:
        single_use: whether an assertion is accepted once, as OpenID Connect Core section 9 permits; Entra accepts it
            until it expires. A test may set it at any time.
    """

    def __init__(self, directory: Directory, tokens: AccessTokens) -> None:
        self._directory = directory
        self._tokens = tokens
        self._used: set[Reuse] = set()
        self.single_use = False

    def authenticate(self, demand: Demand, application: Application, tenant: Tenant) -> Proof | None:
        """Return the record of the assertion, or None for a client that proved itself by a secret.

        Raises:
            Refusal: the proof is not that of the application.
        """
        if demand.assertion is None:
            self._check_secret(demand.secret, application)
            return None
        if federation.is_foreign(demand.assertion):
            proof = federation.verify(
                demand.assertion, application=application, directory=self._directory, tokens=self._tokens
            )
        else:
            base = f"{self._tokens.authority}/{tenant.id}"
            now = self._directory.now()
            proof = assertion.verify(
                demand.assertion,
                client_id=application.client_id,
                audiences={f"{base}/oauth2/v2.0/token", f"{base}/v2.0"},
                certificates=application.certificates_at(now),
                subjects=application.trusted_subjects,
                now=now,
            )
        if self.single_use:
            self._use_up(demand.assertion, application, proof)
        return proof

    def _check_secret(self, secret: str | None, application: Application) -> None:
        if secret is None:
            raise aadsts(7000218)
        matching = [known for known in application.client_secrets.values() if known.equals(secret)]
        if not matching:
            raise aadsts(7000215, client_id=application.client_id)
        if all(known.not_after <= self._directory.now() for known in matching):
            raise aadsts(7000222, client_id=application.client_id)

    def _use_up(self, text: str, application: Application, proof: Proof) -> None:
        # An assertion without an id is known by its text.
        use = Reuse(application.client_id, proof.jti or hashlib.sha256(text.encode()).hexdigest())
        if use in self._used:
            raise reused()
        self._used.add(use)
