"""What an app sends to register a key of its own, as Microsoft's page has it."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm, compact
from shared.core.entra.key_pair import KeyPair
from shared.core.entra.key_proof import add_key_address, add_key_body, unsigned_proof

OBJECT = "0b1ec700-1111-1111-1111-111111111111"
NOW = 1_800_000_000
CERTIFICATE = Certificate(
    thumbprint="t",
    not_before=datetime(2027, 1, 1, tzinfo=UTC),
    not_after=datetime(2030, 1, 1, tzinfo=UTC),
    chain=(b"der", b"above"),
)


@pytest.mark.parametrize("audience", ["00000002-0000-0000-c000-000000000000", "00000003-0000-0000-c000-000000000000"])
def test_a_proof_is_what_graph_asks_for(audience: str) -> None:
    """RS256, both names of the certificate by SHA-1, ten minutes, no padding; a local key signs, PyJWT verifies."""
    pair = KeyPair(CERTIFICATE, rsa.generate_private_key(65_537, 2_048))
    unsigned = unsigned_proof(object_id=OBJECT, audience=audience, certificate=CERTIFICATE, now=NOW + 0.9)
    proof = compact(unsigned, pair.sign(unsigned, Algorithm.RS256))

    sha1 = hashlib.sha1(b"der", usedforsecurity=False).digest()
    x5t = base64.urlsafe_b64encode(sha1).decode().rstrip("=")
    assert jwt.get_unverified_header(proof) == {"alg": "RS256", "typ": "JWT", "x5t": x5t, "kid": sha1.hex().upper()}
    options: Any = {"verify_exp": False, "verify_nbf": False}
    claims = jwt.decode(proof, pair.key.public_key(), algorithms=["RS256"], audience=audience, options=options)
    assert claims == {"aud": audience, "iss": OBJECT, "nbf": NOW, "exp": NOW + 600}
    assert "=" not in proof


def test_the_body_has_the_leaf_alone() -> None:
    """The public part of the certificate to register, in plain base64; certificates above it are not sent."""
    assert json.loads(add_key_body(CERTIFICATE, proof="p")) == {
        "keyCredential": {"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(b"der").decode()},
        "passwordCredential": None,
        "proof": "p",
    }
    expected = f"https://graph.microsoft.us/v1.0/applications/{OBJECT}/addKey"
    assert {add_key_address(f"https://graph.microsoft.us{end}", OBJECT) for end in ("", "/")} == {expected}
