import hashlib
import json
import os
from pathlib import Path

import pytest

from shared.audit import Events
from shared.callers import Callers, read_callers
from shared.core.errors import Denied, NotReady, UnknownCaller
from shared.core.limits import Limits
from shared.core.policy import Allow, Caller, Grant, Mode, Offer, decide
from shared.core.request import TokenRequest
from shared.core.token import TokenKey
from shared.routes import FUNCTION_KEY
from shared.settings import SettingsError
from tests.clock import FakeClock
from tests.tables import Case, case_id, cases

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
    with pytest.raises(Denied):
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
    with pytest.raises(Denied) as caught:
        decide(*DENIALS[denial], OFFERS)
    assert caught.value.cause == reason


def test_all_denials_are_one_answer() -> None:
    """SEC-05: status, headers and body tell nothing about the policy."""
    answers = set()
    for who, request_ in DENIALS.values():
        with pytest.raises(Denied) as caught:
            decide(who, request_, OFFERS)
        answer = FUNCTION_KEY.refused(caught.value, method="POST", correlation_id="id")
        answers.add((answer.status, tuple(answer.headers.items()), answer.body))
    assert len(answers) == 1


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


@pytest.mark.parametrize("case", cases("callers.toml"), ids=case_id)
def test_every_mistake_of_the_callers_is_named_by_its_key(case: Case, tmp_path: Path) -> None:
    """All mistakes that can be seen are told at once, each where it is."""
    path = tmp_path / "callers.toml"
    path.write_text(case["document"])
    found: list[str] = []
    try:
        read_callers(path, OFFERS)
    except SettingsError as error:
        found = error.mistakes
    assert [mistake.partition(":")[0] for mistake in found] == case["mistakes"]


REFRESH, MAX_AGE = 15.0, 86_400.0
KEY, OTHER_KEY = "the key of billing", "a key of nobody"


def entry(name: str = "billing", key: str = KEY, more: str = "") -> str:
    """Write one caller."""
    return f'[callers.{name}]\nkey_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]\n{more}\n'


class Desk:
    """A callers document that changes, and who reads it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "callers.toml"
        self._writes = 0
        self.clock = FakeClock()
        self.lines: list[str] = []
        self.cleared = 0
        self.callers = Callers(
            self._path,
            OFFERS,
            limits=Limits(callers_refresh_seconds=REFRESH, callers_max_age_seconds=MAX_AGE),
            clock=self.clock,
            events=Events(self.lines.append, wall=lambda: self.clock().wall, worker="w"),
            on_new_generation=self._clear,
        )

    def _clear(self) -> None:
        self.cleared += 1

    def write(self, text: str) -> None:
        """Replace the document; its time stamp always differs, however coarse the disk's clock is."""
        self._writes += 1
        self._path.write_text(text)
        os.utime(self._path, (self._writes, self._writes))

    def remove(self) -> None:
        """Take the document away."""
        self._path.unlink()

    def look_again(self) -> None:
        """Let so much time pass that the document is looked at."""
        self.clock.tick(REFRESH)

    def who(self, key: str = KEY) -> str:
        """Name the caller of a key."""
        return self.callers.identify(key, host_checked=True).name


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Open a desk of its own for each test."""
    return Desk(tmp_path)


def test_a_changed_document_is_in_force_after_the_refresh_time(desk: Desk) -> None:
    """REL-52, ABU-21: a removed caller is nobody 15 seconds later, and not before the file is looked at."""
    desk.write(entry())
    assert desk.who() == "billing"
    desk.write(entry("reports", OTHER_KEY))
    desk.clock.tick(REFRESH - 1)
    assert desk.who() == "billing"
    desk.clock.tick(1)
    assert desk.who(OTHER_KEY) == "reports"
    with pytest.raises(UnknownCaller):
        desk.who()


def test_an_invalid_document_keeps_the_last_good_one(desk: Desk) -> None:
    """REL-51: it changes nothing, half of it neither, and its mistakes are told."""
    desk.write(entry())
    desk.who()
    desk.write(entry("reports", OTHER_KEY) + entry("billing2", KEY, "mode = 'off'"))
    desk.look_again()
    assert desk.who() == "billing"
    with pytest.raises(UnknownCaller):
        desk.who(OTHER_KEY)
    told = json.loads(desk.lines[0])
    assert (told["event"], told["outcome"]) == ("callers_invalid", "last good one kept")
    assert told["mistakes"][0].startswith("callers.billing2.mode:")


def test_a_worker_without_a_document_is_not_ready(desk: Desk) -> None:
    """REL-51: 503, until there is one."""
    with pytest.raises(NotReady):
        desk.who()
    desk.write(entry())
    desk.look_again()
    assert desk.who() == "billing"


def test_a_document_that_cannot_be_read_grows_too_old(desk: Desk) -> None:
    """REL-51: the last good one holds for a day, counted from the last time that it was seen."""
    desk.write(entry())
    desk.who()
    desk.remove()
    desk.clock.tick(MAX_AGE)
    assert desk.who() == "billing"
    desk.look_again()
    with pytest.raises(NotReady):
        desk.who()


@pytest.mark.parametrize(("generation", "cleared"), [(3, 1), (2, 0), (1, 0)])
def test_a_raised_generation_clears_the_tokens(desk: Desk, generation: int, cleared: int) -> None:
    """SEC-22: once, and only when it is raised."""
    desk.write("generation = 2\n" + entry())
    desk.who()
    assert desk.cleared == 0
    desk.write(f"generation = {generation}\n" + entry())
    for _ in range(2):
        desk.look_again()
        desk.who()
    assert desk.cleared == cleared


def test_a_generation_raised_during_an_outage_counts(desk: Desk) -> None:
    """SEC-22: tokens outlive a document that grew too old, so the memory of its generation does too."""
    desk.write("generation = 1\n" + entry())
    desk.who()
    desk.remove()
    desk.clock.tick(MAX_AGE + 1)
    with pytest.raises(NotReady):
        desk.who()
    desk.write("generation = 2\n" + entry())
    desk.look_again()
    desk.who()
    assert desk.cleared == 1


def test_the_time_of_a_caller_ends_by_the_wall_clock(desk: Desk) -> None:
    """`not_after` is the first moment that is refused; the key does not fall through to everybody's entry."""
    desk.write(entry(more="not_after = 2027-01-15T08:01:00Z") + "[callers.'*']\n")
    desk.clock.tick(59)
    assert desk.who() == "billing"
    desk.clock.tick(1)
    with pytest.raises(UnknownCaller):
        desk.who()


def test_everybody_is_whoever_has_no_entry(desk: Desk) -> None:
    """The entry `*` is for keys that are nobody's, and there is none unless it is written."""
    desk.write(entry() + "[callers.'*']\n")
    assert (desk.who(), desk.who(OTHER_KEY)) == ("billing", "*")
    desk.write(entry())
    desk.look_again()
    with pytest.raises(UnknownCaller):
        desk.who(OTHER_KEY)
