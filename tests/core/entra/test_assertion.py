import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from shared.core.entra.assertion import assertion_fields, unsigned_assertion
from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import compact
from shared.core.entra.token_request import token_request

CLIENT = "cccccccc-1111-1111-1111-111111111111"
ENDPOINT = "https://login.microsoftonline.com/aaaaaaaa-1111-1111-1111-111111111111/oauth2/v2.0/token"
NOW = 1_800_000_000


def test_an_assertion_is_what_entra_asks_for() -> None:
    """SEC-15: PS256 with `x5t#S256`, for one audience, at most ten minutes long; PyJWT verifies it."""
    key = rsa.generate_private_key(65_537, 2_048)
    dates = {"not_before": datetime(2026, 1, 1, tzinfo=UTC), "not_after": datetime(2030, 1, 1, tzinfo=UTC)}
    certificate = Certificate(thumbprint="t", chain=(b"der",), **dates)
    unsigned = unsigned_assertion(client_id=CLIENT, audience=ENDPOINT, certificate=certificate, jti="j", now=NOW + 0.9)
    # As Key Vault signs: from the digest, with a salt as long as it.
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = key.sign(hashlib.sha256(unsigned).digest(), pss, Prehashed(hashes.SHA256()))
    assertion = compact(unsigned, signature)

    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(assertion, key.public_key(), algorithms=["PS256"], audience=ENDPOINT, options=options)
    assert jwt.get_unverified_header(assertion) == {"alg": "PS256", "typ": "JWT", "x5t#S256": "t"}
    expected = {"iss": CLIENT, "sub": CLIENT, "jti": "j", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
    assert claims == {"aud": ENDPOINT, **expected}


def test_the_form_asks_for_client_credentials_with_an_assertion() -> None:
    """RFC 7521 section 4.2: every value arrives as it was meant, whatever stands in it."""
    form = token_request(
        client_id=CLIENT, scope="api://a+b&c=d/.default", proof=assertion_fields("e.y-J_"), claims=None
    )
    assert parse_qs(form.decode(), strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": [CLIENT],
        "scope": ["api://a+b&c=d/.default"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": ["e.y-J_"],
    }
