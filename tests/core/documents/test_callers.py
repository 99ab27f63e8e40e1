import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.documents.toml import DocumentError
from shared.core.identity_token import Subject
from shared.core.policy import EVERYBODY
from tests.core.test_policy import OFFERS, ONE
from tests.tables import DATA, case_id, cases

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(6)]
NOBODY = hashlib.sha256(b"a key of nobody").hexdigest()

ISSUERS: Mapping[str, str] = {"cluster": "", "entra": ONE}

NOW = datetime(2027, 1, 1, tzinfo=UTC)
OVER = "not_after = 2027-01-01T00:00:00Z\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersCase:
    """A callers document; tests/data/callers.toml describes the fields."""

    id: str
    document: str
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    served: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    is_closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """A document in force, and one that would take its place; the same file describes the fields."""

    id: str
    callers: int
    spoiled: int = 0
    removed: int = 0
    how: str = "mode = 1"
    everybody: bool = False
    over: tuple[int, ...] = ()
    allow: str = ""
    is_taken: bool


CASES = cases("callers.toml", CallersCase, beside=["succession"])


def parsed(document: str, issuers: Mapping[str, str] = ISSUERS) -> CallersDocument:
    """Read a document."""
    return parse_callers(document.encode(), OFFERS, name="callers.toml", issuers=issuers)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_mistake_of_the_callers_is_named_by_its_key(case: CallersCase) -> None:
    """REL-64: all mistakes that can be seen are told at once, each where it is, and cost the callers that have them."""
    if case.served is None:
        with pytest.raises(DocumentError) as caught:
            parsed(case.document)
        assert keys_of(caught.value.mistakes) == list(case.mistakes)
        return
    document = parsed(case.document)
    assert (keys_of(document.mistakes), keys_of(document.warnings)) == (list(case.mistakes), list(case.warnings))
    assert document.served == frozenset(case.served)
    assert (document.refused, document.unresolved) == (frozenset(case.refused), frozenset(case.unresolved))
    assert document.is_open is not case.is_closed


def keys_of(mistakes: Sequence[str]) -> list[str]:
    """List the dotted keys of mistakes."""
    return [mistake.partition(": ")[0] for mistake in mistakes]


def test_without_profiles_nothing_is_held_against_them() -> None:
    """While vend.toml has mistakes, a grant is neither resolved nor unresolved."""
    text = caller_text("a", [KEYS[0]], "allow = [{ profile = 'nope', scopes = ['api://a/.default'] }]")
    document = parse_callers(text.encode(), None, name="callers.toml")
    assert (document.mistakes, document.warnings, document.served) == ((), (), frozenset({"a"}))


def test_a_key_of_a_refused_entry_stays_its_key() -> None:
    """REL-64: it opens nothing, and least of all what everybody may have; a key of nobody falls under `"*"`."""
    document = parsed(caller_text("a", [KEYS[0]], "colour = 1") + "[callers.'*']\n")
    assert document.caller_of(KEYS[0], host_checked=True) is None
    everybody = document.caller_of(NOBODY, host_checked=True)
    assert everybody is not None
    assert everybody.name == EVERYBODY
    assert document.caller_of(NOBODY, host_checked=False) is None


def test_an_identity_of_a_refused_entry_opens_nothing() -> None:
    """REL-64: it stays its identity, as a key stays its key; one that no issuer resolves is nobody's."""
    of_a, of_b = 'identity = [{ issuer = "cluster", subject = "a" }]', 'identity = [{ issuer = "gone", subject = "b" }]'
    document = parsed(f"[callers.a]\n{of_a}\ncolour = 1\n[callers.b]\n{of_b}\n")
    assert document.caller_with(Subject("cluster", "a")) is None
    assert document.caller_with(Subject("gone", "b")) is None
    with pytest.raises(DocumentError):
        parsed(f"[callers.a]\n{of_a}\ncolour = 1\n[callers.b]\n{of_a}\n")


def test_an_object_of_entra_is_found_by_its_tenant_too() -> None:
    """Its GUIDs may be written in either case; a subject of the same text is another identity."""
    object_id = "ABCDEF00-0000-0000-0000-000000000001"
    identity = f'{{ issuer = "entra", object_id = "{object_id}", tenant_id = "{ONE.upper()}" }}'
    document = parsed(f"[callers.a]\nidentity = [{identity}]\n")
    assert document.mistakes == ()
    found = document.caller_with(Subject("entra", object_id.lower(), ONE))
    assert found is not None
    assert document.caller_with(Subject("entra", object_id.lower())) is None


@pytest.mark.parametrize(
    ("sample", "served"),
    [
        ("callers_before_identity.toml", {"billing", "operator", EVERYBODY}),
        ("callers_with_identity.toml", {"billing", "sync", "both", EVERYBODY}),
    ],
)
def test_a_recorded_document_is_read_as_it_was_meant(sample: str, served: set[str]) -> None:
    """What the version before wrote, this one reads; in the other sample stands what that one makes of `identity`."""
    document = parsed((DATA / "documents" / sample).read_text())
    assert document.mistakes == ()
    assert document.served == frozenset(served)


def caller_text(name: str, keys: list[str], more: str = "") -> str:
    """Write one entry."""
    return f"[callers.{name}]\nkey_sha256 = {json.dumps(keys)}\n{more}\n"


@pytest.mark.parametrize("case", cases("callers.toml", Succession, "succession", beside=["case"]), ids=case_id)
def test_mistakes_never_refuse_more_than_half_of_the_callers(case: Succession) -> None:
    """REL-64: a mishap is refused as a whole; to take callers out is no mistake, however many they are."""
    names = [f"caller-{number}" for number in range(case.callers)]
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    everybody = "[callers.'*']\n" if case.everybody else ""
    good = {
        name: caller_text(
            name,
            [digests[name]],
            (f"allow = {case.allow}\n" if case.allow else "") + (OVER if index in case.over else ""),
        )
        for index, name in enumerate(names)
    }
    before = parsed("generation = 1\n" + everybody + "".join(good.values()))
    left = names[case.removed :]
    texts = [
        f"[callers.{name}]\n{case.how.replace('KEY', digests[name])}\n" if index < case.spoiled else good[name]
        for index, name in enumerate(left)
    ]
    after = parsed("generation = 1\n" + everybody + "".join(texts))
    if case.is_taken:
        before.check_successor(after, offers=OFFERS, now=NOW)
        return
    with pytest.raises(DocumentError) as caught:
        before.check_successor(after, offers=OFFERS, now=NOW)
    assert caught.value.mistakes[0].startswith("callers: mistakes would take everything from ")
    assert caught.value.mistakes[1:] == list(after.mistakes)


@pytest.mark.parametrize(
    "written",
    ["2027-01-01T00:00:00Z", "2027-01-01T02:00:00+02:00", "2027-01-01T00:00:00"],
    ids=["UTC", "an offset", "none"],
)
def test_the_end_of_a_caller_is_in_utc_unless_it_has_an_offset(written: str) -> None:
    """TOML has both kinds of moment; the same one is over at the same time, wherever the operator lives."""
    document = parsed(f'[callers.billing]\nkey_sha256 = ["{KEYS[0]}"]\nnot_after = {written}\n')
    caller = document.caller_of(KEYS[0], host_checked=True)
    assert caller is not None
    assert (caller.is_expired(NOW - timedelta(seconds=1)), caller.is_expired(NOW)) == (False, True)
