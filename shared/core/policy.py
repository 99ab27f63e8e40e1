"""Who may have what: a caller and a request -> a grant, or a denial with its reason.

Default deny, exact match. The caller never learns the reason; the event and the operator do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.core.entra.token_answer import is_default_scope
from shared.core.errors import Denied
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
        Denied: with the reason as its cause.
    """
    for scope in request.scopes:
        for allow in caller.allow:
            if scope not in allow.scopes:
                continue
            if tenant := _tenant(request, _tenants(allow, offers, request.client_id)):
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
    raise Denied(cause=reason)


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


def _tenants(allow: Allow, offers: Mapping[str, Offer], client_id: str | None = None) -> tuple[str, ...]:
    """List the tenants that an entry really gives."""
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


_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


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
        if not _SHA256.match(digest)
    ]
    if caller.per_worker_per_minute is not None and caller.per_worker_per_minute < 1:
        found.append(f"{at}.per_worker_per_minute: is less than 1")
    return found if offers is None else found + _all_allow_mistakes(at, caller, offers)


def _all_allow_mistakes(at: str, caller: Caller, offers: Mapping[str, Offer]) -> list[str]:
    found = []
    given: set[tuple[str, str]] = set()
    for index, allow in enumerate(caller.allow):
        found += _allow_mistakes(f"{at}.allow[{index}]", allow, offers)
        for tenant in _tenants(allow, offers):
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
