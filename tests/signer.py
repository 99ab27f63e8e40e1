"""An issuer of identity tokens whose private keys a test has, and the tokens that it gives out."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.core.documents.issuers import InlineKey, IssuerSettings
from shared.core.verification_keys import TokenAlgorithm
from tests.clock import FakeClock

URL = "https://cluster.example/a"
AUDIENCE = "vend-of-contoso"
NARROW = "https://narrow.example"
"""Of an issuer that uses PS256 alone."""
TENANT = "11111111-1111-1111-1111-111111111111"
ENTRA = {
    "entra-v1": f"https://sts.windows.net/{TENANT}/",
    "entra-v2": f"https://login.microsoftonline.com/{TENANT}/v2.0",
}
OBJECT = "e2470b9f-5ac3-4186-8f3d-b19d64c7e05a"
"""The object ID of a managed identity."""
DAY = 86_400

type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def private_key(name: str) -> PrivateKey:
    """Return a key by its name; one that begins with `rsa` is an RSA key. Each is made once."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(name: str, **members: str) -> dict[str, str]:
    """Return the public half of a key as a JSON Web Key; its id is its name."""
    public = private_key(name).public_key()
    made: Any = RSAAlgorithm.to_jwk(public) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public)
    wanted = ("kty", "crv", "x", "y", "n", "e")
    return {"kid": name, **{name: value for name, value in json.loads(made).items() if name in wanted}, **members}


def signed(claims: Mapping[str, Any], *, key: str = "ec", header: Mapping[str, Any] | None = None) -> str:
    """Sign claims with a key, which the header names.

    Args:
        claims: those that are None are left out.
        key: its name.
        header: members in place of the usual ones, or beside them; None takes one away.
    """
    algorithm = "RS256" if key.startswith("rsa") else "ES256"
    named = {"kid": key, **(header or {})}
    # PyJWT has members of its own, and an algorithm of its own choice in the header.
    algorithm = named.pop("sign_by", named.get("alg", algorithm))
    headers = {name: value for name, value in named.items() if value is not None}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, private_key(key), algorithm=algorithm, headers=headers)


def claims_of(subject: str, now: float, **others: Any) -> dict[str, Any]:  # noqa: ANN401  # any claim
    """Return what a good token says of a subject, as Kubernetes says it."""
    issued = int(now)
    times = {"iat": issued, "nbf": issued, "exp": issued + 3_600}
    return {"iss": URL, "aud": [AUDIENCE], "sub": subject, **times, **others}


def entra_claims(version: str, now: float, **others: Any) -> dict[str, Any]:  # noqa: ANN401  # any claim
    """Return what Entra says of a managed identity, in the form of one of its versions."""
    issued = int(now) - 300
    own = {"appid": "a"} if version == "1.0" else {"azp": "a"}
    return {
        "iss": ENTRA["entra-v1" if version == "1.0" else "entra-v2"],
        "aud": AUDIENCE,
        "sub": OBJECT,
        "oid": OBJECT,
        "tid": TENANT,
        "ver": version,
        "iat": issued,
        "nbf": issued,
        "exp": issued + 300 + DAY,
        **own,
        **others,
    }


def token_of(subject: str, now: float | None = None, **others: Any) -> str:  # noqa: ANN401  # any claim
    """Return a good token of a subject; of a day, from the moment at which a `FakeClock` begins."""
    begins = FakeClock().wall() if now is None else now
    return signed(claims_of(subject, begins, exp=int(begins) + DAY, **others))


def issuers() -> tuple[IssuerSettings, ...]:
    """Return the issuers as vend.toml may have them: with their keys."""
    keys = (inline_key("ec"), inline_key("rsa"))
    urls = {"cluster": URL, **ENTRA}
    wide = (IssuerSettings(name=name, issuer=url, audience=AUDIENCE, keys=keys) for name, url in urls.items())
    by_pss = (TokenAlgorithm.PS256,)
    return *wide, IssuerSettings(
        name="narrow", issuer=NARROW, audience=AUDIENCE, algorithms=by_pss, keys=(inline_key("rsa"),)
    )


def inline_key(name: str) -> InlineKey:
    """Return a public key as vend.toml may have it."""
    return InlineKey(**public_jwk(name))  # type: ignore[arg-type]  # its members are all texts


def inline_toml() -> str:
    """Write the issuer into vend.toml."""
    key = ", ".join(f'{name} = "{value}"' for name, value in public_jwk("ec").items())
    return f'issuers.cluster = {{ issuer = "{URL}", audience = "{AUDIENCE}", keys = [{{ {key} }}] }}'


def identity_toml(subject: str) -> str:
    """Write the identity of a caller into callers.toml."""
    return f'identity = [{{ issuer = "cluster", subject = "{subject}" }}]'


def entra_identity(issuer: str, object_id: str = OBJECT) -> str:
    """Write an identity of Entra, as one of those of a caller."""
    return f'{{ issuer = "{issuer}", object_id = "{object_id}", tenant_id = "{TENANT}" }}'
