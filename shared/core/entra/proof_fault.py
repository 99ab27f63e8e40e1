"""The fault of a proof that Entra has refused."""

from enum import Enum


class ProofFault(Enum):
    """The fault of a refused proof; it decides with which credential the next proof is made."""

    LINK = "link"
    """Its link: the certificate, the secret or the federated credential."""
    SECRET = "secret"
    """Its link, which is a secret: the vault may have a newer one."""
    ASSERTION = "assertion"
    """The assertion itself: one that is signed anew may do."""
    CLOCK = "clock"
    """The time in the assertion."""
    UNNAMED = "unnamed"
    """Entra, or a server in its place, gave no number: a server may take each assertion once."""
    UNKNOWN = "unknown"
    """A number that no rule names."""
