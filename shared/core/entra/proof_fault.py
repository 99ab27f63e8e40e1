"""What is wrong with a proof that Entra has refused."""

from enum import Enum


class ProofFault(Enum):
    """What is wrong with a refused proof; it decides what the next proof is made with."""

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
