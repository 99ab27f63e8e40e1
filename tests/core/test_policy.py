from dataclasses import dataclass

import pytest

from shared.core.documents.callers import parse_callers
from shared.core.documents.toml import DocumentError
from shared.core.errors import PolicyDenied
from shared.core.policy import Allow, Caller, Grant, Mode, Offer, decide
from shared.core.request import TokenRequest
from shared.core.token import TokenKey
from tests.tables import case_id, cases

ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
CLIENT, OTHER_CLIENT = ONE.replace("1", "c"), ONE.replace("1", "d")
A, B, INTERNAL = "api://a/.default", "api://b/.default", "api://internal/.default"
OFFERS = {
    "graph": Offer(tenants=(ONE, TWO), scopes=(A, B), client_id=CLIENT, vendable=True),
    "other": Offer(tenants=(ONE,), scopes=(A,), client_id=CLIENT, vendable=True),
    "internal": Offer(tenants=(ONE,), scopes=(INTERNAL,), client_id=CLIENT, vendable=False),
}
ALL_TENANTS = Allow(profile="graph", scopes=(A,))
SECOND_TENANT = Allow(profile="graph", scopes=(A,), tenants=(TWO.upper(),))
OTHER = Allow(profile="other", scopes=(A,))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersCase:
    """A callers document; tests/data/callers.toml describes the fields."""

    id: str
    document: str
    mistakes: tuple[str, ...]


CASES = cases("callers.toml", CallersCase)


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
        (caller(Allow(profile="gone", scopes=(A,)), OTHER), TokenRequest((A,)), TokenKey("other", ONE, A)),
    ],
    ids=["first tenant", "asked tenant", "listed tenant", "first entry", "its order", "by tenant", "profile is gone"],
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
    "a profile that is gone": (caller(Allow(profile="gone", scopes=(A,))), TokenRequest((A,))),
    "not vendable": (caller(Allow(profile="internal", scopes=(INTERNAL,))), TokenRequest((INTERNAL,))),
    "audit, another profile": (caller(OTHER, mode=Mode.AUDIT), TokenRequest((B,))),
    "audit, not vendable": (
        caller(Allow(profile="internal", scopes=()), mode=Mode.AUDIT),
        TokenRequest((INTERNAL,)),
    ),
    "audit, another tenant": (caller(OTHER, mode=Mode.AUDIT), TokenRequest((A,), TWO)),
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
        ("a profile that is gone", "no entry with this scope has a tenant"),
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
        (TokenRequest((B,)), TokenKey("graph", ONE, B)),
        (TokenRequest((A,), ONE), TokenKey("graph", ONE, A)),
    ],
    ids=["scope", "tenant"],
)
def test_audit_mode_serves_what_it_would_deny(request_: TokenRequest, expected: TokenKey) -> None:
    """What the caller's profiles have is served, and the grant says that `enforce` would have refused it."""
    grant = decide(caller(SECOND_TENANT, mode=Mode.AUDIT), request_, OFFERS)
    assert grant.key == expected
    assert grant.would_deny


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_mistake_of_the_callers_is_named_by_its_key(case: CallersCase) -> None:
    """All mistakes that can be seen are told at once, each where it is."""
    found: list[str] = []
    try:
        parse_callers(case.document.encode(), OFFERS, name="callers.toml")
    except DocumentError as error:
        found = error.mistakes
    assert [mistake.partition(":")[0] for mistake in found] == list(case.mistakes)
