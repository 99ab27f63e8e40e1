"""The key that signs the access tokens of the local Entra: created at start, published as a JWK set."""

import json
import secrets

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

ALGORITHM = "RS256"  # what Entra signs access tokens with, whatever the client signed its assertion with

# The clock of the cloud, by which the reader checks the dates, need not be this machine's.
UNCHECKED: Options = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class SigningKey:
    """One RSA-2048 key with its id."""

    def __init__(self) -> None:
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        self.id = secrets.token_urlsafe(20)

    def sign(self, claims: dict[str, object]) -> str:
        """Return the claims as a compact JWS."""
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self.id, "x5t": self.id})

    def verify(self, token: str) -> dict[str, object] | None:
        """Return the claims of a token that this key signed, or None; the reader checks dates and audience."""
        try:
            claims: dict[str, object] = jwt.decode(token, self._public, algorithms=[ALGORITHM], options=UNCHECKED)
        except jwt.InvalidTokenError:
            return None
        return claims

    def public_keys(self) -> dict[str, object]:
        """Return the public half as a JWK set (RFC 7517)."""
        key: dict[str, object] = json.loads(RSAAlgorithm.to_jwk(self._public))
        return {"keys": [{"kty": "RSA", "use": "sig", "kid": self.id, "x5t": self.id, "n": key["n"], "e": key["e"]}]}
