"""The differences between two callers documents: what each caller gains and loses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from shared.core.documents.callers import CallersDocument
from shared.core.errors import PolicyDenied
from shared.core.policy import EVERYBODY, Caller, Offer, decide, pairs_served, tenants_of
from shared.core.request import TokenRequest

NONE = "none"
VALUES = ("admin", "mode", "share", "per_worker_per_minute", "not_after", "identity")


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """Tokens that a caller gets: of a profile, in a tenant, for a scope."""

    profile: str
    tenant: str
    scope: str

    def __str__(self) -> str:
        return f"{self.scope} (profile {self.profile}, tenant {self.tenant})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The changes of one caller.

    Args:
        name: of the caller.
        kind: "new", "removed" or "changed".
        gained: what it gets from then on.
        lost: what it gets no more.
        values: what else of its entry changes: from what to what.
        makes_key: whether a key is to be made for it.
        drops_keys: the SHA-256 of the keys that open nothing any more.
        cuts: why a caller that was seen lately could be cut off, beside what is lost; "" for no reason.
    """

    name: str
    kind: str
    gained: tuple[Right, ...] = ()
    lost: tuple[Right, ...] = ()
    values: Mapping[str, tuple[str, str]]
    makes_key: bool = False
    drops_keys: tuple[str, ...] = ()
    cuts: str = ""


def differences(
    before: CallersDocument, after: CallersDocument, *, offers: Mapping[str, Offer], made: Mapping[str, str], now: float
) -> Iterator[Difference]:
    """Compare two documents.

    Args:
        before: as it lies there.
        after: as it is to be.
        offers: what the profiles can be asked for.
        made: what stands in the new document for keys that are not made yet, by the names of their callers.
        now: seconds since the epoch.
    """
    named = [*before.callers, *sorted(before.refused), *after.callers]
    for name in dict.fromkeys(named):
        old, new = before.callers.get(name), after.callers.get(name)
        if old == new and name not in before.refused:
            continue
        had, gets = rights_of(old, offers), rights_of(new, offers)
        keys = tuple(digest for digest, owner in before.owners.items() if owner == name)
        dropped = tuple(digest for digest in keys if after.owners.get(digest) != name)
        values = dict(_values(old, new, offers))
        yield Difference(
            name=name,
            kind="removed" if new is None else "changed" if old or name in before.refused else "new",
            gained=tuple(sorted(gets - had)),
            lost=tuple(sorted(had - gets)),
            values=values,
            makes_key=name in made,
            drops_keys=dropped,
            cuts=_cuts(old, new, dropped, now=now),
        )


def rights_of(caller: Caller | None, offers: Mapping[str, Offer]) -> set[Right]:
    """Return what a caller gets, whichever app registration it asks for."""
    if caller is None:
        return set()
    clients = {None, *(offers[allow.profile].client_id for allow in caller.allow if allow.profile in offers)}
    found = set()
    for allow, client in product(caller.allow, clients):
        offer = offers.get(allow.profile)
        scopes = {*allow.scopes, *(offer.scopes if offer else ())}
        for tenant, scope in product(tenants_of(allow, offers), scopes):
            try:
                key = decide(caller, TokenRequest((scope,), tenant, client_id=client), offers).key
            except PolicyDenied:
                continue
            found.add(Right(key.profile, key.tenant_id, key.scope))
    return found


def _values(
    old: Caller | None, new: Caller | None, offers: Mapping[str, Offer]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Return what an entry has other than keys and rights, where it changes; of a new one, what is not as usual.

    Of one that is removed it is `admin` alone, which is no right to a token.
    """
    if new is None:
        if old is not None and old.admin:
            yield "admin", (_shown(old.admin), NONE)
        return
    base = old or Caller(name=new.name)
    for key in VALUES:
        was, will = getattr(base, key), getattr(new, key)
        if was != will:
            yield key, (_shown(was), _shown(will))
    if old is not None:
        for scope, was in (first := dict(_without_tenant(old, offers))).items():
            will = dict(_without_tenant(new, offers)).get(scope)
            if will and will != was:
                yield f"{scope} where no tenant is named", (first[scope], will)


def _without_tenant(caller: Caller, offers: Mapping[str, Offer]) -> Iterator[tuple[str, str]]:
    for scope in dict.fromkeys(scope for _, scope in pairs_served(caller, offers)):
        try:
            key = decide(caller, TokenRequest((scope,)), offers).key
        except PolicyDenied:
            continue
        yield scope, f"{key.profile} in {key.tenant_id}"


def _cuts(old: Caller | None, new: Caller | None, dropped: tuple[str, ...], *, now: float) -> str:
    if old is None:
        return ""
    if new is None:
        return "it is removed"
    is_over = new.not_after is not None and new.not_after.timestamp() <= now
    if is_over and not (old.not_after and old.not_after.timestamp() <= now):
        return "its time is over"
    if dropped and new.name != EVERYBODY:
        return "its key opens nothing any more"
    return "an identity goes" if set(old.identity) - set(new.identity) else ""


def _shown(value: Any) -> str:  # noqa: ANN401  # of any field of an entry
    match value:
        case None | ():
            return NONE
        case bool():
            return str(value).lower()
        case datetime():
            return f"{value:%Y-%m-%d %H:%M %Z}"
        case tuple():
            each = (f"{x.issuer}:{x.subject or f'{x.object_id} of {x.tenant_id}'}" for x in value)
            return ", ".join(each)
    return str(value)
