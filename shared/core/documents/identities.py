"""`identity` of callers.toml: whose identity tokens prove a caller, and every mistake in it.

An identity is exact and has no pattern: an issuer and a subject, or of Entra an object and its tenant. Whatever of it
is left out or spoiled makes it another form or none, and so nobody's.
"""

from collections.abc import Iterable, Iterator, Mapping

from shared.core.documents.table import dotted
from shared.core.identity_token import Subject
from shared.core.names import is_guid
from shared.core.policy import EVERYBODY, Caller, Identity
from shared.core.rules import breaks, is_whole, items


def identity_mistakes(at: str, caller: Caller) -> Iterator[str]:
    """List what is wrong with the identities of an entry, whatever the issuers are."""
    if caller.name == EVERYBODY and breaks(lambda found: not found, caller.identity):
        yield f'{at}.identity: "*" stands for keys, and has none'
    for index, identity in items(caller.identity):
        yield from _mistakes(f"{at}.identity[{index}]", identity)


def _mistakes(at: str, identity: Identity) -> Iterator[str]:
    if not is_whole(identity):
        return
    if bool(identity.subject) is bool(identity.object_id or identity.tenant_id):
        yield f"{at}: must have either subject, or object_id and tenant_id for an issuer that is Entra"
        return
    for name in ("object_id", "tenant_id"):
        if not identity.subject and not is_guid(getattr(identity, name)):
            yield f"{at}.{name}: must be a GUID"


def owners_of_identities(callers: Iterable[Caller]) -> tuple[Mapping[Subject, str], list[str]]:
    """Return the entry that has each identity, good or not, and a mistake for each that two of them have."""
    owners: dict[Subject, str] = {}
    mistakes = []
    for caller in callers:
        for index, identity in items(caller.identity):
            if is_whole(identity) and (owner := owners.setdefault(identity.owner, caller.name)) != caller.name:
                at = dotted("callers", caller.name)
                mistakes.append(f"{at}.identity[{index}]: is an identity of {dotted('callers', owner)} too")
    return owners, mistakes


def unknown_identities(caller: Caller, tenants: Mapping[str, str]) -> Iterator[tuple[Subject, str]]:
    """List the identities of an entry that no issuer resolves, each with its mistake: they are nobody's.

    Args:
        caller: the entry.
        tenants: of the issuers that are Entra, and "" for the others, by their names.
    """
    at = dotted("callers", caller.name)
    for index, identity in items(caller.identity):
        if not is_whole(identity) or any(_mistakes(at, identity)):
            continue
        if fault := _fault(identity, tenants):
            yield identity.owner, f"{at}.identity[{index}].{fault}"


def _fault(identity: Identity, tenants: Mapping[str, str]) -> str:
    tenant = tenants.get(identity.issuer)
    if tenant is None:
        return "issuer: there is no such issuer"
    if tenant and identity.subject:
        return "subject: the issuer is Entra, whose identities have object_id and tenant_id"
    if not tenant and not identity.subject:
        return "object_id: the issuer is not Entra, and its identities have subject"
    return "tenant_id: is not the tenant of the issuer" if tenant != identity.tenant_id.lower() else ""
