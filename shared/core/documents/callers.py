"""callers.toml: what it may say, and every mistake in it.

A mistake costs the caller that has it, and nobody else:

    mistake                                     consequence
    in an entry: unknown key, wrong value ...   the entry is refused: its keys are still its keys, and open nothing
    keys of an entry that cannot be read whole  also, nobody falls under `"*"`: it could be one of these keys
    a grant that no deployed profile resolves   it gives nothing and keeps its place; other grants of the entry stand
    an identity that no issuer resolves         it is nobody's; keys and other identities of the entry stand
    two grants for one scope and tenant         a warning: the first one decides, resolved or not
    TOML, the top level                         the document is refused
    a key or an identity of two callers         the same

So whatever is removed from a good document, or spoiled in it, nobody gets more than before. Of a document with mistakes
that holds for everything but the mistakes: one that is taken out withholds nothing any more. Each is named, and a
warning names a grant that withholds what another entry lists.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.core.documents.identities import identity_mistakes, owners_of_identities, unknown_identities
from shared.core.documents.table import dotted, read_table
from shared.core.documents.toml import DocumentError, parse_toml
from shared.core.identity_token import Subject
from shared.core.names import is_default_scope, is_guid, is_sha256
from shared.core.policy import (
    EVERYBODY,
    Allow,
    Caller,
    Mode,
    Offer,
    deciding_entry,
    is_served,
    pairs_served,
    tenants_of,
)
from shared.core.rules import NOTHING, breaks, items

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_CLOSED = "stands for nobody, because the keys of another entry cannot be read whole"
_KEY_ALONE = "gives to a key alone, without any identity token"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersFile:
    """callers.toml as a whole."""

    generation: int = 1
    callers: Mapping[str, Caller] = field(default_factory=dict)

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        is_wrong = breaks(lambda generation: generation >= 0, self.generation)
        return [f"{dotted(at, 'generation')}: is less than 0"] if is_wrong else []


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersDocument:
    """The meaning of a callers document.

    Attributes:
        generation: raised, it makes every worker drop its cached tokens.
        callers: the entries without mistakes, by name.
        owners: name of the entry that has a key, by the SHA-256 of the key; refused entries keep their keys.
        identities: name of the entry that has an identity; those that no issuer resolves are nobody's.
        is_open: whether `"*"` counts; not while the keys of some entry cannot be read whole.
        refused: names of the entries with mistakes.
        unresolved: names of the callers with a grant that no profile resolves, or an identity that no issuer does.
        mistakes: of the refused entries and of what is unresolved, each by its dotted key.
        warnings: what is probably not meant, each by its dotted key.
    """

    generation: int
    callers: Mapping[str, Caller]
    owners: Mapping[str, str]
    identities: Mapping[Subject, str]
    is_open: bool
    refused: frozenset[str]
    unresolved: frozenset[str]
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...]

    def caller_of(self, digest: str, *, host_checked: bool) -> Caller | None:
        """Return the caller that has a key.

        Args:
            digest: SHA-256 of the key.
            host_checked: whether the host has accepted the key; only then `"*"` counts.
        """
        owner = self.owners.get(digest)
        if owner is None and host_checked and self.is_open:
            owner = EVERYBODY
        return self.callers.get(owner) if owner else None

    def caller_with(self, identity: Subject) -> Caller | None:
        """Return the caller that has an identity."""
        return self.callers.get(self.identities.get(identity, ""))

    @property
    def served(self) -> frozenset[str]:
        """Names of the callers that are not refused."""
        return frozenset(name for name in self.callers if name != EVERYBODY or self.is_open)

    def check_successor(self, new: "CallersDocument", *, offers: Mapping[str, Offer], now: datetime) -> None:
        """Check whether a document may take the place of this one, which is in force.

        Args:
            new: the document.
            offers: what the profiles can be asked for, as both documents were read.
            now: the moment; callers whose time is over are not counted.

        Raises:
            DocumentError: its mistakes would take everything from more than half of the callers that are served now.
        """
        served = [self.callers[name] for name in self.served if not self.callers[name].is_expired(now)]
        lost = sum(new._takes_all_from(caller, offers) for caller in served)  # noqa: SLF001  # of the same class
        if 2 * lost > len(served):
            what = (
                f"callers: mistakes would take everything from {lost} of the {len(served)} callers that are served now"
            )
            raise DocumentError([what, *new.mistakes])

    def _takes_all_from(self, caller: Caller, offers: Mapping[str, Offer]) -> bool:
        """Return whether mistakes of this document leave a caller nothing of what it had in the one before."""
        # A caller is the same one by its name, its keys and its identities: each may be what was spoiled.
        names = {caller.name, *(self.owners[digest] for digest in caller.key_sha256 if digest in self.owners)}
        names |= {self.identities[each.owner] for each in caller.identity if each.owner in self.identities}
        if names & self.refused or (caller.name in self.callers and caller.name not in self.served):
            return True
        if not names & self.unresolved:
            return False
        if not any(True for _ in pairs_served(caller, offers)):
            return False
        provable = [
            self.callers[name] for name in names & {*self.owners.values(), *self.identities.values()} & {*self.callers}
        ]
        left = (pair for each in provable for pair in pairs_served(each, offers))
        return not any(is_served(caller, *pair, offers) for pair in left)


def parse_callers(
    text: bytes, offers: Mapping[str, Offer] | None, *, name: str, issuers: Mapping[str, str] | None = None
) -> CallersDocument:
    """Read the document.

    Args:
        text: the document.
        offers: what the profiles can be asked for; None where that is not known, and nothing is held against it.
        name: of the document, in mistakes that have no place in it.
        issuers: tenants of the issuers by their names, "" for one that is not Entra; None where that is not known.

    Raises:
        DocumentError: with every mistake, where one of them concerns the document as a whole.
    """
    table = parse_toml(text, name=name)
    if not table:
        # What a file is for a moment while somebody writes it, and what a mishap leaves; it would refuse everybody.
        raise DocumentError([f"{name}: is empty; a document for nobody says so by a generation alone"])
    entries = table.get("callers")
    if isinstance(entries, dict):
        table["callers"] = {}  # each entry is read on its own
    else:
        entries = {}
    mistakes: list[str] = []
    file = read_table(CallersFile, table, at="", mistakes=mistakes)
    owners, shared = _owners(entries)
    found = {each: _read_entry(each, entry) for each, entry in entries.items()}
    readable = [caller for caller, _ in found.values() if caller is not NOTHING]
    identities, shared_identities = owners_of_identities(readable)
    unknown = {} if issuers is None else {c.name: [*unknown_identities(c, issuers)] for c in readable}
    callers = {each: caller for each, (caller, wrong) in found.items() if not wrong}
    unresolved: Mapping[str, list[str]] = {
        caller.name: gaps
        for caller in readable
        if (
            gaps := [m for _, m in unknown.get(caller.name, ())]
            + ([] if offers is None else _unresolved(caller, offers))
        )
    }
    nobodys = {each for gaps in unknown.values() for each, _ in gaps}
    of_entries = [m for each, (_, wrong) in found.items() for m in (*wrong, *unresolved.get(each, ()))]
    if mistakes or shared or shared_identities:
        raise DocumentError([*mistakes, *shared, *shared_identities, *of_entries])
    is_open = all(_keys_are_whole(each, entry, is_good=each in callers) for each, entry in entries.items())
    warnings = [] if is_open or EVERYBODY not in entries else [f"{dotted('callers', EVERYBODY)}: {_CLOSED}"]
    if is_open and EVERYBODY in callers and identities:
        warnings.append(f"{dotted('callers', EVERYBODY)}: {_KEY_ALONE}")
    if offers is not None:
        warnings += [warning for caller in callers.values() for warning in _overlaps(caller, offers)]
        warnings += [warning for each in unresolved if each in callers for warning in _withheld(callers[each], offers)]
    return CallersDocument(
        generation=file.generation,
        callers=callers,
        owners=owners,
        identities={each: owner for each, owner in identities.items() if each not in nobodys},
        is_open=is_open,
        refused=frozenset(found.keys() - callers.keys()),
        unresolved=frozenset(unresolved.keys() & callers.keys()),
        mistakes=tuple(of_entries),
        warnings=tuple(warnings),
    )


def _read_entry(name: str, entry: object) -> tuple[Caller, list[str]]:
    """Read one entry, with what is wrong with it whatever the profiles are."""
    mistakes: list[str] = []
    at = dotted("callers", name)
    caller = read_table(Caller, entry, at=at, mistakes=mistakes, name=name)
    return caller, mistakes if caller is NOTHING else mistakes + _caller_mistakes(at, caller)


def _listed_keys(entry: object) -> list[Any]:
    """Return what an entry lists as the hashes of its keys; none where that is no list."""
    keys = entry.get("key_sha256") if isinstance(entry, dict) else None
    return keys if isinstance(keys, list) else []


def _is_key(value: object) -> bool:
    return isinstance(value, str) and is_sha256(value)


def _keys_are_whole(name: str, entry: object, *, is_good: bool) -> bool:
    """Return whether all keys of an entry are known; a good one that has identities need not have any."""
    if isinstance(entry, dict) and "key_sha256" not in entry and (name == EVERYBODY or is_good):
        return True
    keys = _listed_keys(entry)
    return bool(keys) and all(map(_is_key, keys))


def _owners(entries: Mapping[str, object]) -> tuple[Mapping[str, str], list[str]]:
    """Return the entry that has each key, good or not, and a mistake for each key that two of them have."""
    owners: dict[str, str] = {}
    mistakes = []
    for name, entry in entries.items():
        for index, digest in enumerate(_listed_keys(entry)):
            if _is_key(digest) and (owner := owners.setdefault(digest, name)) != name:
                at = dotted("callers", name)
                mistakes.append(f"{at}.key_sha256[{index}]: is a key of {dotted('callers', owner)} too")
    return owners, mistakes


def _caller_mistakes(at: str, caller: Caller) -> list[str]:
    """List what is wrong with values of one entry that have the right type."""
    found = []
    everybody = caller.name == EVERYBODY
    if not everybody and not _NAME.match(caller.name):
        found.append(f"{at}: a name has letters, digits, dots, dashes and underscores, at most 64")
    if everybody and (caller.admin is True or caller.mode is Mode.AUDIT):
        found.append(f'{at}: "*" is neither admin nor in mode "audit"')
    if everybody and breaks(lambda keys: not keys, caller.key_sha256):
        found.append(f'{at}.key_sha256: "*" stands for the keys of nobody else, and has none')
    if not everybody and breaks(lambda keys, identity: keys or identity, caller.key_sha256, caller.identity):
        found.append(f"{at}.key_sha256: is missing, and so is identity")
    found += identity_mistakes(at, caller)
    found += [
        f"{at}.key_sha256[{index}]: is not 64 lower-case hex digits"
        for index, digest in items(caller.key_sha256)
        if not is_sha256(digest)
    ]
    if breaks(lambda rate: rate is None or rate >= 1, caller.per_worker_per_minute):
        found.append(f"{at}.per_worker_per_minute: is less than 1")
    for index, allow in items(caller.allow):
        found += _allow_mistakes(f"{at}.allow[{index}]", allow)
    return found


def _allow_mistakes(at: str, allow: Allow) -> Iterator[str]:
    for index, scope in items(allow.scopes):
        if not is_default_scope(scope):
            yield f"{at}.scopes[{index}]: is not of the form resource/.default"
    for index, tenant in items(allow.tenants):
        if not is_guid(tenant):
            yield f"{at}.tenants[{index}]: is not a tenant GUID"


def _unresolved(caller: Caller, offers: Mapping[str, Offer]) -> list[str]:
    """List the grants of a caller that no profile resolves."""
    at = dotted("callers", caller.name)
    return [m for index, allow in items(caller.allow) for m in _gaps(f"{at}.allow[{index}]", allow, offers)]


def _gaps(at: str, allow: Allow, offers: Mapping[str, Offer]) -> Iterator[str]:
    if allow.profile is NOTHING:
        return
    offer = offers.get(allow.profile)
    if offer is None:
        yield f"{at}.profile: there is no such profile"
        return
    if not offer.vendable:
        yield f"{at}.profile: the profile is not vendable"
    for index, scope in items(allow.scopes):
        if is_default_scope(scope) and scope not in offer.scopes:
            yield f"{at}.scopes[{index}]: the profile does not have this scope"
    for index, tenant in items(allow.tenants):
        if is_guid(tenant) and tenant.lower() not in offer.tenants:
            yield f"{at}.tenants[{index}]: the profile does not have this tenant"


def _overlaps(caller: Caller, offers: Mapping[str, Offer]) -> Iterator[str]:
    """List the grants that an entry before them decides."""
    at = dotted("callers", caller.name)
    given: dict[str, set[str]] = {}
    for index, allow in enumerate(caller.allow):
        offer, tenants = offers.get(allow.profile), tenants_of(allow, offers)
        for scope in dict.fromkeys(scope for scope in allow.scopes if offer and scope in offer.scopes):
            before = given.setdefault(scope, set())
            if not before.isdisjoint(tenants):
                yield f"{at}.allow[{index}]: lists {scope} for a tenant that an entry before it lists, which decides"
            before.update(tenants)


def _withheld(caller: Caller, offers: Mapping[str, Offer]) -> Iterator[str]:
    """List the grants that no profile resolves and that keep another entry from giving what they list.

    Whoever takes such a grant out gives the caller more than before, which nothing in the grant itself tells.
    """
    at = dotted("callers", caller.name)
    resolved = replace(caller, allow=tuple(part for allow in caller.allow if (part := _resolved(allow, offers))))
    found: dict[tuple[int, str], None] = {}
    for tenant, scope in pairs_served(resolved, offers):
        index = None if is_served(caller, tenant, scope, offers) else deciding_entry(caller, tenant, scope, offers)
        if index is not None:
            found[index, scope] = None
    for index, scope in found:
        yield f"{at}.allow[{index}]: keeps {scope} from being given by another entry, as long as it is here"


def _resolved(allow: Allow, offers: Mapping[str, Offer]) -> Allow | None:
    """Return the part of a grant that a profile resolves; None where there is none."""
    offer = offers.get(allow.profile)
    tenants = tuple(
        tenant for tenant in tenants_of(allow, offers) if offer and offer.vendable and tenant in offer.tenants
    )
    scopes = tuple(scope for scope in allow.scopes if offer and scope in offer.scopes)
    return replace(allow, tenants=tenants, scopes=scopes) if tenants and scopes else None
