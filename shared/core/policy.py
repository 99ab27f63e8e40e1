"""The policy: a caller and a request -> a grant, or a denial with its reason.

Default deny, exact match. The caller never learns the reason; the event and the operator do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import product

from shared.core.errors import PolicyDenied
from shared.core.identity_token import Subject
from shared.core.request import TokenRequest
from shared.core.token import TokenKey

EVERYBODY = "*"
"""Name of the entry for any key that the host accepted and no caller has."""


class Mode(StrEnum):
    """The treatment of a request that a caller's entries do not list."""

    ENFORCE = "enforce"
    """It is denied."""
    AUDIT = "audit"
    """It is served if a profile of an entry has the scope, for the tenants of that entry alone.

    It is logged as one that would be denied.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One entry of a caller: scopes of one profile, for all of its tenants unless some are listed."""

    profile: str = field(metadata={"why": "the name of a profile in vend.toml"})
    scopes: tuple[str, ...]
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The owner of identity tokens that prove a caller: a subject of an issuer, or with Entra an object of a tenant."""

    issuer: str
    subject: str = ""
    object_id: str = ""
    tenant_id: str = ""

    @property
    def owner(self) -> Subject:
        """The owner of these tokens."""
        return Subject(self.issuer, self.subject or self.object_id.lower(), self.tenant_id.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One entry of the callers document: how a caller proves itself, and what it may have."""

    name: str
    key_sha256: tuple[str, ...] = field(default=(), repr=False)
    identity: tuple[Identity, ...] = ()
    mode: Mode = Mode.ENFORCE
    per_worker_per_minute: int | None = None
    admin: bool = False
    share: bool = True
    not_after: datetime | None = None
    allow: tuple[Allow, ...] = ()

    def is_expired(self, now: datetime) -> bool:
        """Return whether the caller's time is over."""
        return self.not_after is not None and now >= self.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tenants and scopes of a profile, as far as policy needs them."""

    tenants: tuple[str, ...]
    scopes: tuple[str, ...]
    client_id: str
    vendable: bool
    share: bool = True
    """Whether callers share a token; else each has tokens of its own, so that an API's log names the caller."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The part of the deployed vend.toml that a callers document refers to.

    Args:
        offers: what the profiles can be asked for.
        issuers: tenants of the issuers by their names, "" for one that is not Entra.
    """

    offers: Mapping[str, Offer]
    issuers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """A request that may be served, and from which cache entry."""

    key: TokenKey
    would_deny: str | None = None
    """The reason for which `enforce` would have refused it."""


def decide(caller: Caller, request: TokenRequest, offers: Mapping[str, Offer]) -> Grant:
    """Return what a request means for a caller.

    Of the scopes that it may mean it is the first that any entry lists. Without a tenant it is the first entry that
    lists the scope, and the first of that entry's tenants. An entry that no profile resolves keeps its place: what it
    lists first is denied, and never comes from the next profile.

    Raises:
        PolicyDenied: with the reason as its cause.
    """
    for scope in request.scopes:
        for allow in caller.allow:
            if scope in allow.scopes and (grant := _grant(caller, allow, scope, request, offers)):
                return grant
    reason = _reason(caller, request)
    if caller.mode is Mode.AUDIT:
        for scope in request.scopes:
            for allow in caller.allow:
                offer = offers.get(allow.profile)
                if offer is None or not offer.vendable or scope not in offer.scopes:
                    continue
                if grant := _grant(caller, allow, scope, request, offers, reason):
                    return grant
    raise PolicyDenied(cause=reason)


def pairs_served(caller: Caller, offers: Mapping[str, Offer]) -> Iterator[tuple[str, str]]:
    """Return each tenant and scope of which a caller gets tokens; each is decided when it is asked for."""
    seen = set[tuple[str, str]]()
    for allow in caller.allow:
        offer = offers.get(allow.profile)
        scopes = offer.scopes if offer and caller.mode is Mode.AUDIT else allow.scopes
        for pair in product(tenants_of(allow, offers), scopes if offer else ()):
            if pair not in seen and is_served(caller, *pair, offers):
                yield pair
            seen.add(pair)


def deciding_entry(caller: Caller, tenant: str, scope: str, offers: Mapping[str, Offer]) -> int | None:
    """Return the index of the entry that decides about a tenant and a scope, in the order of `decide`."""
    listed = [(index, allow) for index, allow in enumerate(caller.allow) if scope in allow.scopes]
    audited = [
        (index, allow)
        for index, allow in enumerate(caller.allow)
        if caller.mode is Mode.AUDIT
        and (offer := offers.get(allow.profile))
        and scope in offer.scopes
        and offer.vendable
    ]
    about = (index for index, allow in (*listed, *audited) if tenant in (tenants_of(allow, offers) or (tenant,)))
    return next(about, None)


def is_served(caller: Caller, tenant: str, scope: str, offers: Mapping[str, Offer]) -> bool:
    """Return whether a caller gets tokens of a tenant and a scope."""
    try:
        decide(caller, TokenRequest((scope,), tenant), offers)
    except PolicyDenied:
        return False
    return True


def _grant(
    caller: Caller,
    allow: Allow,
    scope: str,
    request: TokenRequest,
    offers: Mapping[str, Offer],
    would_deny: str | None = None,
) -> Grant | None:
    """Return what an entry grants of a scope; None where it is about another client or tenant.

    Raises:
        PolicyDenied: it is about this request, and no profile resolves it.
    """
    offer = offers.get(allow.profile)
    if offer and request.client_id not in {None, offer.client_id}:
        return None
    # Of a profile that is gone nobody knows the client and the tenants: the entry may have been about any.
    tenants = tenants_of(allow, offers)
    tenant = request.tenant_id or next(iter(tenants), "")
    if tenants and tenant not in tenants:
        return None
    if not offer or not is_resolved(offer, tenant, scope):
        raise PolicyDenied(cause="the deployed profiles do not resolve the entry that decides")
    alone = "" if offer.share and caller.share else caller.name
    return Grant(TokenKey(allow.profile, tenant, scope, alone), would_deny)


def is_resolved(offer: Offer, tenant: str, scope: str) -> bool:
    """Return whether a profile can give out tokens of a tenant and a scope."""
    return offer.vendable and tenant in offer.tenants and scope in offer.scopes


def tenants_of(allow: Allow, offers: Mapping[str, Offer]) -> tuple[str, ...]:
    """Return the tenants that an entry is about: those that it lists, or else all of its profile.

    They are empty only where it lists none and its profile is gone. What is not listed is never granted for that.
    """
    if allow.tenants:
        return tuple(tenant.lower() for tenant in allow.tenants)
    offer = offers.get(allow.profile)
    return offer.tenants if offer else ()


def _reason(caller: Caller, request: TokenRequest) -> str:
    if not caller.allow:
        return "the caller may have nothing"
    if not any(scope in allow.scopes for scope in request.scopes for allow in caller.allow):
        return "no entry lists this scope"
    if request.client_id is not None:
        return "no entry lists this scope for this client"
    return "no entry lists this scope for this tenant"
