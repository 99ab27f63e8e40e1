"""callers.toml: what it may say, and every mistake in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.core.documents.table import read_table
from shared.core.documents.toml import DocumentError, parse_toml
from shared.core.names import is_default_scope, is_sha256
from shared.core.policy import EVERYBODY, Allow, Caller, Mode, Offer, tenants_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersDocument:
    """callers.toml as a whole."""

    generation: int = 1
    callers: Mapping[str, Caller] = field(default_factory=dict)

    def by_key(self) -> Mapping[str, Caller]:
        """Index the callers by the SHA-256 of their keys."""
        return {digest: caller for caller in self.callers.values() for digest in caller.key_sha256}


def parse_callers(text: bytes, offers: Mapping[str, Offer] | None, *, name: str) -> CallersDocument:
    """Read the document.

    Args:
        text: the document.
        offers: what the profiles can be asked for; None where that is not known, and nothing is held against it.
        name: of the document, in mistakes that have no place in it.

    Raises:
        DocumentError: with every mistake.
    """
    if not text.strip():
        # What a file is for a moment while somebody writes it, and what a mishap leaves; it would refuse everybody.
        raise DocumentError([f"{name}: is empty; a document for nobody says so by a generation alone"])
    mistakes: list[str] = []
    document = read_table(CallersDocument, parse_toml(text, name=name), at="", mistakes=mistakes)
    if not mistakes:
        mistakes += _mistakes(document, offers)
    if mistakes:
        raise DocumentError(mistakes)
    return document


def _mistakes(document: CallersDocument, offers: Mapping[str, Offer] | None) -> list[str]:
    found = []
    owners: dict[str, str] = {}
    for caller in document.callers.values():
        found += caller_mistakes(caller, offers)
        for index, digest in enumerate(caller.key_sha256):
            owner = owners.setdefault(digest, caller.name)
            if owner != caller.name:
                found.append(f"callers.{caller.name}.key_sha256[{index}]: is a key of {owner} too")
    return found


def caller_mistakes(caller: Caller, offers: Mapping[str, Offer] | None) -> list[str]:
    """List what is wrong with one entry, each mistake by its dotted key; without offers, what shows without them."""
    at = f"callers.{caller.name}"
    found = []
    everybody = caller.name == EVERYBODY
    if not everybody and not _NAME.match(caller.name):
        found.append(f"{at}: a name has letters, digits, dots, dashes and underscores, at most 64")
    if everybody and (caller.admin or caller.mode is Mode.AUDIT):
        found.append(f'{at}: "*" is neither admin nor in mode "audit"')
    if everybody and caller.key_sha256:
        found.append(f'{at}.key_sha256: "*" stands for the keys of nobody else, and has none')
    if not everybody and not caller.key_sha256:
        found.append(f"{at}.key_sha256: is missing")
    found += [
        f"{at}.key_sha256[{index}]: is not 64 lower-case hex digits"
        for index, digest in enumerate(caller.key_sha256)
        if not is_sha256(digest)
    ]
    if caller.per_worker_per_minute is not None and caller.per_worker_per_minute < 1:
        found.append(f"{at}.per_worker_per_minute: is less than 1")
    return found if offers is None else found + _all_allow_mistakes(at, caller, offers)


def _all_allow_mistakes(at: str, caller: Caller, offers: Mapping[str, Offer]) -> list[str]:
    found = []
    given: set[tuple[str, str]] = set()
    for index, allow in enumerate(caller.allow):
        found += _allow_mistakes(f"{at}.allow[{index}]", allow, offers)
        for tenant in tenants_of(allow, offers):
            for scope in dict.fromkeys(allow.scopes):
                if (tenant, scope) in given:
                    found.append(f"{at}.allow[{index}]: offers {scope} for a tenant that an entry before it offers")
                given.add((tenant, scope))
    return found


def _allow_mistakes(at: str, allow: Allow, offers: Mapping[str, Offer]) -> list[str]:
    offer = offers.get(allow.profile)
    if offer is None:
        return [f"{at}.profile: there is no such profile"]
    found = []
    if not offer.vendable:
        found.append(f"{at}.profile: the profile is not vendable")
    if not allow.scopes:
        found.append(f"{at}.scopes: is empty")
    for index, scope in enumerate(allow.scopes):
        if not is_default_scope(scope):
            found.append(f"{at}.scopes[{index}]: is not of the form resource/.default")
        elif scope not in offer.scopes:
            found.append(f"{at}.scopes[{index}]: the profile does not have this scope")
    for index, tenant in enumerate(allow.tenants):
        if tenant.lower() not in offer.tenants:
            found.append(f"{at}.tenants[{index}]: the profile does not have this tenant")
    return found
