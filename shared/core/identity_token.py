"""Identity tokens: who calls, by a token that an issuer of the configuration has signed (RFC 7519, RFC 7523).

Strangers can send anything, so a token is read in the order of what it costs:

    its length
    its form: three parts, each in the one spelling that an encoder gives it; JSON that repeats no name
    its header, in which nothing may bring a key or change a meaning
    the issuer, exactly; the algorithm, which its issuer must use; the audience, exactly and alone
    the times: it has begun, has not ended, and lives `LONGEST_LIFE` at most
    that it is no token of a user
    -- here ends `read_identity_token`; whoever calls it looks whether a caller has this subject --
    one signature, by a key that the issuer has published

Nothing in a token chooses where a key comes from.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from shared.core.encoding import from_base64url
from shared.core.errors import UnknownIdentity
from shared.core.strict_json import read_strict
from shared.core.verification_keys import TokenAlgorithm, VerificationKey

TOKEN_LIMIT = 8 * 1024
"""Characters of an identity token."""
LONGEST_LIFE = 48 * 3600
"""Seconds from `iat` to `exp`; a managed identity's token has a day and five minutes."""
SKEW = 60
"""Seconds that a clock of an issuer may be ahead of ours."""

HEADERS = 64
"""Headers of tokens that are remembered: the tokens of an issuer have few different ones."""

_FARTHEST = 1e11
"""Seconds since 1970, some three thousand years: beyond it a number is no time."""
_REFUSED_IN_HEADER = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"})
"""They would bring a key, or mean that the token is not what it looks like."""
_TYPES = frozenset({None, "jwt", "at+jwt", "application/at+jwt", "client-authentication+jwt"})


class Subject(NamedTuple):
    """The owner of a token: exact strings, never joined into one."""

    issuer: str
    """The name of the issuer in the configuration."""
    subject: str
    tenant_id: str = ""
    """Of an issuer that is Entra; its subject is then an object ID."""


class _Header(NamedTuple):
    algorithm: TokenAlgorithm | None
    """None for one that no issuer may use."""
    key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer, and what its tokens must look like.

    Args:
        name: in the configuration.
        url: the `iss` of its tokens.
        audience: the `aud` of its tokens.
        algorithms: that it may sign with.
        tenant_id: of Entra; "" for any other issuer.
        version: the `ver` of the tokens of Entra; "" for any other issuer.
    """

    name: str
    url: str
    audience: str
    algorithms: frozenset[TokenAlgorithm]
    tenant_id: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """A token that says the right things; whether it is true its signature decides."""

    issuer: Issuer
    subject: Subject
    expires_on: float
    algorithm: TokenAlgorithm
    key_id: str | None
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, key: VerificationKey) -> bool:
        """Return whether a key that fits the algorithm has signed the token."""
        return key.verifies(self.signed, self.signature, self.algorithm)


def issuer_of(token: str) -> str | None:
    """Return the `iss` of what may be a JWT, as it says itself; None for anything else.

    It decides no more than whether the text is meant for vend at all.
    """
    parts = token.split(".", 3)
    if len(token) > TOKEN_LIMIT or len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def read_identity_token(token: str, issuers: Mapping[str, Issuer], *, now: float) -> UnverifiedToken:
    """Read a token, and check everything but who it is and its signature.

    Args:
        token: in compact form.
        issuers: those that are configured, by their URL.
        now: by the wall clock.

    Raises:
        UnknownIdentity: with the first check that it fails as its cause.
    """
    if len(token) > TOKEN_LIMIT:
        raise refused("too long")
    header, claims, signed, signature = _parts(token)
    issuer = issuers.get(url) if isinstance(url := claims.get("iss"), str) else None
    if issuer is None:
        raise refused("of no configured issuer")
    if header.algorithm is None or header.algorithm not in issuer.algorithms:
        raise refused("an algorithm that its issuer does not use")
    if claims.get("aud") not in (issuer.audience, [issuer.audience]):
        raise refused("for another audience")
    expires_on = _check_times(claims, now)
    return UnverifiedToken(
        issuer=issuer,
        subject=_subject(claims, issuer),
        expires_on=expires_on,
        algorithm=header.algorithm,
        key_id=header.key_id,
        signed=signed,
        signature=signature,
    )


def refused(why: str, *, issuer: str = "") -> UnknownIdentity:
    """Return the refusal of a token; `issuer` is the name of the configured one, where that is known."""
    of = f" of {issuer}" if issuer else ""
    return UnknownIdentity(cause=f"identity token{of}: {why}")


def _parts(token: str) -> tuple[_Header, Mapping[str, Any], bytes, bytes]:
    """Return header, claims, what is signed, and the signature (RFC 7515 section 7.1)."""
    signed, _, signature = token.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        return _read_header(header), _read_object(claims), signed.encode(), from_base64url(signature)
    except ValueError:
        raise refused("no JWT") from None


def _read_object(part: str) -> Mapping[str, Any]:
    found = read_strict(from_base64url(part).decode())
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004  # as what is no JSON
    return found


@lru_cache(HEADERS)
def _read_header(part: str) -> _Header:
    """Return what counts in a header; what is refused is not remembered."""
    header = _read_object(part)
    if not _REFUSED_IN_HEADER.isdisjoint(header):
        raise refused("its header brings a key, or changes what it means")
    kind, key_id, algorithm = header.get("typ"), header.get("kid"), header.get("alg")
    if not isinstance(kind, str | None) or (kind.lower() if kind else None) not in _TYPES:
        raise refused("of another type")
    if not isinstance(key_id, str | None):
        raise refused("its kid is no text")
    return _Header(next((each for each in TokenAlgorithm if each == algorithm), None), key_id)


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """Return when a token ends; its times are not only in order, but times."""
    begins, ends = claims.get("iat"), claims.get("exp")
    valid_from = claims.get("nbf", begins)
    if not (_is_time(begins) and _is_time(ends) and _is_time(valid_from)):
        raise refused("without iat or exp, or with a time that is none")
    if not now < ends:
        raise refused("expired")
    if max(begins, valid_from) > now + SKEW:
        raise refused("not yet valid")
    if ends - begins > LONGEST_LIFE:
        raise refused("lives too long")
    return float(ends)


def _is_time(value: Any) -> TypeGuard[float]:  # noqa: ANN401  # whatever JSON holds
    return type(value) in (int, float) and 0 <= value < _FARTHEST  # True is an int, of another type


def _subject(claims: Mapping[str, Any], issuer: Issuer) -> Subject:
    """Return whose token it is.

    https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
    """
    if "scp" in claims or claims.get("idtyp", "app") != "app":
        raise refused("of a user")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise refused("without sub")
    if issuer.tenant_id:
        if claims.get("oid") != subject:
            raise refused("of a user")
        if claims.get("tid") != issuer.tenant_id or claims.get("ver") != issuer.version:
            raise refused("of another tenant, or another version")
    return Subject(issuer.name, subject, issuer.tenant_id)
