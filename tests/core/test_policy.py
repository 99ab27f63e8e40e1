from dataclasses import replace

import pytest

from shared.core.errors import PolicyDenied
from shared.core.policy import Allow, Caller, Grant, Mode, Offer, decide, deciding_entry
from shared.core.request import TokenRequest
from shared.core.token import TokenKey

ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
CLIENT, OTHER_CLIENT = ONE.replace("1", "c"), ONE.replace("1", "d")
A, B, C, INTERNAL = "api://a/.default", "api://b/.default", "api://c/.default", "api://internal/.default"
OFFERS = {
    "graph": Offer(tenants=(ONE, TWO), scopes=(A, B), client_id=CLIENT, vendable=True),
    "other": Offer(tenants=(ONE,), scopes=(A,), client_id=CLIENT, vendable=True),
    "other id": Offer(tenants=(ONE,), scopes=(A, C), client_id=OTHER_CLIENT, vendable=True),
    "internal": Offer(tenants=(ONE,), scopes=(INTERNAL,), client_id=CLIENT, vendable=False),
}
ALL_TENANTS = Allow(profile="graph", scopes=(A,))
SECOND_TENANT = Allow(profile="graph", scopes=(A,), tenants=(TWO.upper(),))
OTHER = Allow(profile="other", scopes=(A,))
OTHER_ID = Allow(profile="other id", scopes=(A, C))
GONE = Allow(profile="gone", scopes=(A,))
UNKNOWN_SCOPE = Allow(profile="graph", scopes=(C, A))
UNKNOWN_TENANT = Allow(profile="graph", scopes=(A,), tenants=(CLIENT, ONE))


def elsewhere(allow: Allow) -> Allow:
    """Have an entry list one tenant."""
    return replace(allow, tenants=(TWO,))


def caller(*allow: Allow, mode: Mode = Mode.ENFORCE) -> Caller:
    """Make a caller with these entries."""
    return Caller(name="billing", mode=mode, allow=allow)


@pytest.mark.parametrize(
    ("who", "request_", "expected"),
    [
        (caller(ALL_TENANTS), TokenRequest((A,)), TokenKey("graph", ONE, A)),
        (caller(ALL_TENANTS), TokenRequest((A,), TWO), TokenKey("graph", TWO, A)),
        (caller(SECOND_TENANT), TokenRequest((A,)), TokenKey("graph", TWO, A)),
        (caller(SECOND_TENANT, OTHER), TokenRequest((A,)), TokenKey("graph", TWO, A)),
        (caller(OTHER, SECOND_TENANT), TokenRequest((A,)), TokenKey("other", ONE, A)),
        (caller(SECOND_TENANT, OTHER), TokenRequest((A,), ONE), TokenKey("other", ONE, A)),
        (caller(elsewhere(GONE), OTHER), TokenRequest((A,), ONE), TokenKey("other", ONE, A)),
        (caller(UNKNOWN_SCOPE), TokenRequest((A,)), TokenKey("graph", ONE, A)),
        (caller(UNKNOWN_TENANT), TokenRequest((A,), ONE), TokenKey("graph", ONE, A)),
        (caller(OTHER_ID, ALL_TENANTS), TokenRequest((A,), client_id=CLIENT), TokenKey("graph", ONE, A)),
    ],
    ids=[
        "first tenant",
        "asked tenant",
        "listed tenant",
        "first entry",
        "its order",
        "by tenant",
        "an unresolved entry before it is about another tenant",
        "another scope of the entry is unresolved",
        "another tenant of the entry is unresolved",
        "by client",
    ],
)
def test_an_entry_grants_what_it_lists(who: Caller, request_: TokenRequest, expected: TokenKey) -> None:
    """The first entry that lists the scope for the tenant decides the cache key."""
    assert decide(who, request_, OFFERS) == Grant(expected)


DENIALS = {
    "no entries": (caller(), TokenRequest((A,))),
    "another scope": (caller(ALL_TENANTS), TokenRequest((B,))),
    "a scope of nobody": (caller(ALL_TENANTS), TokenRequest(("api://nobody/.default",))),
    "another case": (caller(ALL_TENANTS), TokenRequest((A.upper(),))),
    "a longer scope": (caller(ALL_TENANTS), TokenRequest(("api://a//.default",))),
    "another tenant": (caller(SECOND_TENANT), TokenRequest((A,), ONE)),
    "a tenant of nobody": (caller(ALL_TENANTS), TokenRequest((A,), ONE.replace("1", "3"))),
    "FND-C3 a profile that is gone": (caller(GONE), TokenRequest((A,))),
    "FND-C3 a profile that is gone, and the next entry": (caller(GONE, OTHER), TokenRequest((A,))),
    "FND-C3 its client is not known": (caller(GONE, OTHER), TokenRequest((A,), client_id=CLIENT)),
    "FND-C3 it lists the tenant": (caller(elsewhere(GONE), SECOND_TENANT), TokenRequest((A,), TWO)),
    "FND-C3 not for the other spelling": (caller(GONE, ALL_TENANTS), TokenRequest((A, B))),
    "FND-C3 a scope that its profile lacks": (caller(UNKNOWN_SCOPE, OTHER_ID), TokenRequest((C,))),
    "FND-C3 a longer scope than its profile has": (
        caller(Allow(profile="graph", scopes=("api://b-admin/.default",))),
        TokenRequest(("api://b-admin/.default",)),
    ),
    "FND-C3 a tenant that its profile lacks": (caller(UNKNOWN_TENANT, OTHER), TokenRequest((A,))),
    "FND-C3 in audit mode": (caller(GONE, OTHER, mode=Mode.AUDIT), TokenRequest((A,))),
    "not vendable": (caller(Allow(profile="internal", scopes=(INTERNAL,))), TokenRequest((INTERNAL,))),
    "another client": (caller(ALL_TENANTS), TokenRequest((A,), client_id=OTHER_CLIENT)),
    "audit, another profile": (caller(OTHER, mode=Mode.AUDIT), TokenRequest((B,))),
    "audit, a longer scope": (caller(ALL_TENANTS, mode=Mode.AUDIT), TokenRequest(("api://b-admin/.default",))),
    "audit, a shorter scope": (caller(ALL_TENANTS, mode=Mode.AUDIT), TokenRequest(("api:///.default",))),
    "audit, a part of a scope": (caller(ALL_TENANTS, mode=Mode.AUDIT), TokenRequest(("api://b",))),
    "audit, not vendable": (
        caller(Allow(profile="internal", scopes=()), mode=Mode.AUDIT),
        TokenRequest((INTERNAL,)),
    ),
    "audit, another tenant": (caller(OTHER, mode=Mode.AUDIT), TokenRequest((A,), TWO)),
    "FND-C5 audit, a tenant of the profile": (caller(SECOND_TENANT, mode=Mode.AUDIT), TokenRequest((A,), ONE)),
    "FND-C5 audit, and another scope": (caller(SECOND_TENANT, mode=Mode.AUDIT), TokenRequest((B,), ONE)),
}


@pytest.mark.parametrize("reason", DENIALS)
def test_what_no_entry_lists_is_denied(reason: str) -> None:
    """SEC-04: default deny, exact match."""
    with pytest.raises(PolicyDenied):
        decide(*DENIALS[reason], OFFERS)


@pytest.mark.parametrize(
    ("denial", "reason"),
    [
        ("no entries", "the caller may have nothing"),
        ("another scope", "no entry lists this scope"),
        ("audit, a longer scope", "no entry lists this scope"),
        ("FND-C3 a profile that is gone", "the deployed profiles do not resolve the entry that decides"),
        ("another client", "no entry lists this scope for this client"),
        ("another tenant", "no entry lists this scope for this tenant"),
    ],
)
def test_the_event_says_which_denial_it_was(denial: str, reason: str) -> None:
    """What the caller never learns, the operator does."""
    with pytest.raises(PolicyDenied) as caught:
        decide(*DENIALS[denial], OFFERS)
    assert caught.value.cause == reason


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (TokenRequest((B,)), TokenKey("graph", TWO, B)),
        (TokenRequest((B,), TWO), TokenKey("graph", TWO, B)),
    ],
    ids=["scope", "FND-C5 scope, of the tenant that is listed"],
)
def test_audit_mode_serves_what_it_would_deny(request_: TokenRequest, expected: TokenKey) -> None:
    """What the caller's profiles have is served, and the grant says that `enforce` would have refused it."""
    grant = decide(caller(GONE, OTHER_ID, SECOND_TENANT, mode=Mode.AUDIT), request_, OFFERS)
    assert grant.key == expected
    assert grant.would_deny


@pytest.mark.parametrize(
    ("who", "tenant", "scope", "index"),
    [
        (caller(OTHER, ALL_TENANTS), TWO, A, 1),
        (caller(ALL_TENANTS), ONE, B, None),
        (caller(ALL_TENANTS, mode=Mode.AUDIT), ONE, B, 0),
        (caller(OTHER, SECOND_TENANT, mode=Mode.AUDIT), TWO, B, 1),
        (caller(OTHER, mode=Mode.AUDIT), ONE, B, None),
        (caller(GONE, ALL_TENANTS), TWO, A, 0),
    ],
    ids=["by tenant", "not listed", "audited", "audited, by tenant", "the profile lacks it", "a profile that is gone"],
)
def test_the_entry_that_decides_is_the_one_that_answers(
    who: Caller, tenant: str, scope: str, index: int | None
) -> None:
    """In audit mode an entry decides about a scope of its profile that it does not list."""
    assert deciding_entry(who, tenant, scope, OFFERS) == index


def test_a_token_is_shared_if_profile_and_caller_share() -> None:
    """Either of them keeps a caller's tokens apart."""
    for offered, called in ((True, True), (True, False), (False, True), (False, False)):
        offers = {"graph": replace(OFFERS["graph"], share=offered)}
        who = replace(caller(ALL_TENANTS), share=called)
        key = decide(who, TokenRequest((A,)), offers).key
        assert key.caller == ("" if offered and called else who.name)
