"""Tokens of another issuer as client assertions, by the federated credentials of the application.

Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation and, for managed identities,
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
"""

from collections.abc import Iterable, Mapping

import jwt

from emulator.directory.certificate import PADDING
from emulator.directory.objects import Application, FederatedCredential
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.entra.assertion import Proof, check_time, parse, supported
from emulator.entra.errors import aadsts
from emulator.entra.signing import UNCHECKED
from emulator.refusal import Refusal


def is_foreign(assertion: str) -> bool:
    """Return whether an assertion names an issuer by its URL; a client names itself by its id."""
    try:
        _, claims, _ = parse(assertion)
    except Refusal:
        return False
    return str(claims.get("iss")).lower().startswith("https://")


def verify(assertion: str, *, application: Application, directory: Directory, tokens: AccessTokens) -> Proof:
    """Verify a token against the federated credentials that its client has.

    Raises:
        Refusal: with the number of the first check it fails.
    """
    header, claims, _ = parse(assertion)
    held = application.federated_credentials.values()
    if not held:
        raise aadsts(70025, client_id=application.client_id, client=application.name)
    algorithm = supported(header)
    _match(claims, held, directory=directory)
    _check_signature(assertion, header, claims, directory=directory, tokens=tokens)
    check_time(claims, directory.now())
    return Proof(
        jti=str(claims.get("jti") or claims.get("uti") or ""),
        algorithm=algorithm,
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
    )


def _match(claims: Mapping[str, object], held: Iterable[FederatedCredential], *, directory: Directory) -> None:
    """Raise unless a credential has the issuer, the subject and the audience of a token, and Entra knows it."""
    issuer, subject, audiences = str(claims.get("iss")), str(claims.get("sub")), _audiences(claims, directory)
    audience = ", ".join(sorted(audiences))
    now = directory.now()
    known = [each for each in held if each.spread <= now]
    pending = [each for each in held if each.spread > now]
    if not known or any((each.issuer, each.subject) == (issuer, subject) for each in pending):
        raise aadsts(70021, issuer=issuer, subject=subject, audience=audience)
    of_issuer = [each for each in known if each.issuer == issuer]
    if not of_issuer:
        raise aadsts(700211, issuer=issuer)
    of_subject = [each for each in of_issuer if each.subject == subject]
    if not of_subject:
        folded = any(each.subject.lower() == subject.lower() for each in of_issuer)
        raise aadsts(7002138 if folded else 700213, subject=subject)
    if not any(each.audience in audiences for each in of_subject):
        raise aadsts(700212, audience=audience)


def _audiences(claims: Mapping[str, object], directory: Directory) -> frozenset[str]:
    """Return the names of the audience; a token of Entra has the app id of an API, a credential has its URI."""
    asked = claims.get("aud")
    names = {name for name in (asked if isinstance(asked, list) else [asked]) if isinstance(name, str)}
    apis = [api for name in names if (api := directory.api(name))]
    return frozenset(names.union(*(api.identifier_uris for api in apis)))


def _check_signature(
    assertion: str,
    header: Mapping[str, object],
    claims: Mapping[str, object],
    *,
    directory: Directory,
    tokens: AccessTokens,
) -> None:
    """Raise unless the key that the header names is of the issuer, and has signed."""
    issuer, name = str(claims["iss"]), str(header.get("kid", ""))
    if issuer.startswith(f"{tokens.authority}/"):
        if tokens.key.verify(assertion) is None:
            raise aadsts(7000274)
        if claims.get("azp") not in {identity.client_id for identity in directory.identities()}:
            raise aadsts(700226)
        return
    published = directory.issuer_keys(issuer)
    if published is None:
        raise aadsts(501661)
    key = next((key for key in published.keys if name and key.key_id == name), None)
    if key is None:
        raise aadsts(7000272, identifier=name, issuer=issuer)
    try:
        jwt.decode(assertion, key, algorithms=list(PADDING), options=UNCHECKED)
    except jwt.InvalidTokenError:
        raise aadsts(7000274) from None
