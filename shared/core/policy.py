"""Who may have what: a caller and a request -> a grant, or a denial with its reason.

Default deny, exact match. The caller never learns the reason; the event and the operator do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.core.errors import PolicyDenied
from shared.core.request import TokenRequest
from shared.core.token import TokenKey

EVERYBODY = "*"
"""Name of the entry for any key that the host accepted and no caller has."""


class Mode(StrEnum):
    """What happens to a request that a caller's entries do not list."""

    ENFORCE = "enforce"
    """It is denied."""
    AUDIT = "audit"
    """It is served if a profile that the caller may use offers it, and logged as one that would be denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One entry of a caller: scopes of one profile, for all of its tenants unless some are listed."""

    profile: str = field(metadata={"why": "the name of a profile in vend.toml"})
    scopes: tuple[str, ...]
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One entry of the callers document: who calls with which keys, and what it may have."""

    name: str
    key_sha256: tuple[str, ...] = field(default=(), repr=False)
    mode: Mode = Mode.ENFORCE
    per_worker_per_minute: int | None = None
    admin: bool = False
    not_after: datetime | None = None
    allow: tuple[Allow, ...] = ()

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the caller's time is over."""
        return self.not_after is not None and now >= self.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a profile can be asked for, as far as policy needs to know."""

    tenants: tuple[str, ...]
    scopes: tuple[str, ...]
    client_id: str
    vendable: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """A request that may be served, and from which cache entry."""

    key: TokenKey
    would_deny: str | None = None
    """The reason for which `enforce` would have refused it."""


def decide(caller: Caller, request: TokenRequest, offers: Mapping[str, Offer]) -> Grant:
    """Find what a request means for a caller.

    Of the scopes that it may mean it is the first that any entry lists. Without a tenant it is the first entry that
    lists the scope, and the first of that entry's tenants.

    Raises:
        PolicyDenied: with the reason as its cause.
    """
    for scope in request.scopes:
        for allow in caller.allow:
            if scope not in allow.scopes:
                continue
            if tenant := _tenant(request, tenants_of(allow, offers, request.client_id)):
                return Grant(TokenKey(allow.profile, tenant, scope))
    reason = _reason(caller, request)
    if caller.mode is Mode.AUDIT:
        for scope in request.scopes:
            for allow in caller.allow:
                offer = _offer(allow, offers, request.client_id)
                if offer is None or scope not in offer.scopes:
                    continue
                if tenant := _tenant(request, offer.tenants):
                    return Grant(TokenKey(allow.profile, tenant, scope), would_deny=reason)
    raise PolicyDenied(cause=reason)


def _offer(allow: Allow, offers: Mapping[str, Offer], client_id: str | None) -> Offer | None:
    """Find what an entry's profile offers; one that is gone, private or not the client that was asked for, nothing."""
    offer = offers.get(allow.profile)
    if offer is None or not offer.vendable or client_id not in {None, offer.client_id}:
        return None
    return offer


def _tenant(request: TokenRequest, tenants: tuple[str, ...]) -> str | None:
    """Choose the tenant that was asked for, or else the first."""
    if request.tenant_id is None:
        return tenants[0] if tenants else None
    return request.tenant_id if request.tenant_id in tenants else None


def tenants_of(allow: Allow, offers: Mapping[str, Offer], client_id: str | None = None) -> tuple[str, ...]:
    """Return the tenants that an entry grants: those that it lists, or all, as far as its profile has them."""
    offer = _offer(allow, offers, client_id)
    if offer is None:
        return ()
    named = tuple(tenant.lower() for tenant in allow.tenants)
    return tuple(tenant for tenant in named or offer.tenants if tenant in offer.tenants)


def _reason(caller: Caller, request: TokenRequest) -> str:
    if not caller.allow:
        return "the caller may have nothing"
    if not any(scope in allow.scopes for scope in request.scopes for allow in caller.allow):
        return "no entry lists this scope"
    if request.client_id is not None:
        return "no entry lists this scope for this client"
    if request.tenant_id is None:
        return "no entry with this scope has a tenant"
    return "no entry lists this scope for this tenant"
