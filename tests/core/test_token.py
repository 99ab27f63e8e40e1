import hashlib
import json
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.api.answers import Vended, token_answer
from shared.core.token import (
    AccessToken,
    Freshness,
    Moment,
    TokenKey,
    TokenSource,
    min_remaining,
    min_remaining_failing,
    refresh_after,
)
from tests.clock import FakeClock

ASKED = Moment(wall=1_800_000_000, boot=1_000)
TOKEN = AccessToken(secret="CANARY", asked=ASKED, lifetime=3_600, refresh_after=1_440)
FLOOR = 300


def later(boot: float, *, jump: float = 0) -> Moment:
    """Give the time so many seconds after the token was asked for; the wall clock may have jumped."""
    return Moment(wall=ASKED.wall + boot + jump, boot=ASKED.boot + boot)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (later(0), Freshness.FRESH),
        (later(1_439.9), Freshness.FRESH),
        (later(1_440), Freshness.STALE),
        (later(3_300), Freshness.STALE),
        (later(3_300.1), Freshness.EXPIRED),
        (later(10, jump=3_290), Freshness.FRESH),
        (later(10, jump=3_290.1), Freshness.EXPIRED),
        (later(3_300.1, jump=-7_200), Freshness.EXPIRED),
        (later(1_440, jump=-7_200), Freshness.STALE),
    ],
)
def test_freshness_changes_at_its_boundaries(now: Moment, expected: Freshness) -> None:
    """REL-36: due by the clock that never jumps, over by whichever clock says so first."""
    assert TOKEN.freshness(now, floor=FLOOR) is expected


@pytest.mark.parametrize(
    ("ahead", "jump", "seconds"),
    [(0, 0, 100), (900, 0, -800), (-900, 0, 100), (0, 50, 100), (0, -50, 50), (900, -900, -800)],
)
def test_an_end_counts_from_the_earlier_of_two_clocks(ahead: float, jump: float, seconds: float) -> None:
    """REL-36: ours now, or Entra's as it was when the token was asked for, and as long after it as really went by."""
    token = AccessToken("CANARY", ASKED, lifetime=3_600, refresh_after=1_440, clock_ahead=ahead)
    assert token.time(later(100, jump=jump)) == ASKED.wall + seconds


ages = st.floats(0, 200_000)
jumps = st.floats(-200_000, 200_000)


@given(age=ages, jump=jumps)
def test_remaining_is_never_more_than_either_clock_leaves(age: float, jump: float) -> None:
    """TST-20: no jump of the wall clock makes a token live longer than Entra gave it."""
    now = later(age, jump=jump)
    assert TOKEN.remaining(now) <= TOKEN.lifetime - (now.boot - ASKED.boot)
    assert TOKEN.remaining(now) <= TOKEN.lifetime - (now.wall - ASKED.wall)


@given(first=ages, second=ages, jump=jumps)
def test_a_token_never_becomes_fresher(first: float, second: float, jump: float) -> None:
    """While the clocks run on, the states come in their order."""
    order = list(Freshness)
    younger, older = sorted((first, second))
    before = TOKEN.freshness(later(younger, jump=jump), floor=FLOOR)
    after = TOKEN.freshness(later(older, jump=jump), floor=FLOOR)
    assert order.index(before) <= order.index(after)


type Move = tuple[Callable[[FakeClock, float], None], float]
passing = st.sampled_from([FakeClock.tick, FakeClock.suspend])
moves = st.tuples(passing, st.floats(0, 4_000)) | st.tuples(st.just(FakeClock.jump), st.floats(-8_000, 8_000))


@pytest.mark.slow
@settings(max_examples=10 * settings().max_examples)
@given(moves=st.lists(moves, max_size=10), lifetime=st.floats(1, 90_000))
def test_no_clock_can_stretch_a_life(moves: list[Move], lifetime: float) -> None:
    """TST-20: after any jumps and suspends no more is told than is really left, and nothing is served below the floor.

    What is really left is what Entra gave, less all the time that passed, however the wall clock was set meanwhile.
    """
    clock = FakeClock()
    token = AccessToken(secret="CANARY", asked=clock(), lifetime=lifetime, refresh_after=lifetime)
    left = lifetime
    for move, seconds in moves:
        move(clock, seconds)
        left -= 0 if move is FakeClock.jump else seconds
        answer = token_answer(
            Vended(token, TokenSource.CACHE, scope="", client_id="", now=clock(), margin=10, correlation_id="")
        )
        assert json.loads(answer.body)["expires_in"] <= max(0, left)
        assert left >= FLOOR - 1e-3 or token.freshness(clock(), floor=FLOOR) is Freshness.EXPIRED


whole = st.integers(0, 5_000)  # seconds: floats would round at the boundaries, which are what this is about


@given(age=whole, jump=st.integers(-5_000, 5_000), refresh_after=whole, floor=whole)
def test_the_short_way_to_fresh_is_the_long_way(age: int, jump: int, refresh_after: int, floor: int) -> None:
    """Before both instants of `fresh_until` a token is FRESH with more than the floor left, and only then."""
    token = AccessToken(secret="CANARY", asked=ASKED, lifetime=3_600, refresh_after=refresh_after)
    now, until = later(age, jump=jump), token.fresh_until(floor=floor)
    is_fresh = token.freshness(now, floor=floor) is Freshness.FRESH and token.remaining(now) > floor
    assert (now.wall < until.wall and now.boot < until.boot) == is_fresh


@pytest.mark.parametrize(
    ("refresh_in", "expected"),
    [(None, 1_440), (1_800, 1_440), (600, 600)],
    ids=["no advice", "advice later than ours", "advice earlier than ours"],
)
def test_the_earlier_of_advice_and_fraction_is_when_to_refresh(refresh_in: float | None, expected: float) -> None:
    """With 0.6 of an hour left, or at `refresh_in` if that is earlier."""
    assert refresh_after(3_600, refresh_in, fraction=0.6) == pytest.approx(expected)


@pytest.mark.parametrize(("lifetime", "expected"), [(86_400, 300), (3_600, 300), (2_000, 200), (600, 60), (120, 60)])
def test_a_tenth_of_a_short_life_is_enough(lifetime: float, expected: float) -> None:
    """FND-D8: between the two bounds; a token that lives for minutes is served more than once."""
    assert min_remaining(lifetime, most=300, least=60) == expected


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [(3_600, 400), (600, 400), (599, 299.5), (60, 30)],
    ids=["long", "ten minutes", "less", "a minute"],
)
def test_half_of_a_very_short_life_is_enough(lifetime: float, expected: float) -> None:
    """The bound of the operator holds for each token that Entra gives; one that is about to end is used a while."""
    assert min_remaining_failing(lifetime, least=400) == expected


def test_a_clock_of_entra_is_believed_to_be_five_minutes_ahead_at_the_most() -> None:
    """A `Date` of tomorrow says nothing about when Entra was asked."""
    token = AccessToken("s", Moment(1_000, 5), lifetime=3_600, refresh_after=1_440, clock_ahead=-86_400)
    assert token.asked_by_entra == 1_300


def test_what_entra_was_asked_is_told_by_its_own_clock() -> None:
    """Where our clock is two minutes ahead, Entra was asked two minutes earlier than we think."""
    token = AccessToken("s", Moment(1_000, 5), lifetime=3_600, refresh_after=1_440, clock_ahead=120)
    assert token.asked_by_entra == 880


def test_a_token_cannot_print_or_pickle_itself() -> None:
    """SEC-09: neither repr nor pickle gives the secret away; the log gets 12 digits of its hash."""
    assert "CANARY" not in f"{TOKEN!r} {TOKEN}"
    with pytest.raises(TypeError):
        pickle.dumps(TOKEN)
    assert TOKEN.sha256 == hashlib.sha256(b"CANARY").hexdigest()
    assert TOKEN.fingerprint == TOKEN.sha256[:12]


# An alphabet in which joined strings, folded case and trimmed ends would collide.
parts = st.text("a-b/A \0", max_size=4)


@given(one=st.tuples(parts, parts, parts), other=st.tuples(parts, parts, parts))
def test_keys_are_equal_only_field_by_field(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """SEC-02: no two keys that differ in any field find each other's entry."""
    found = {TokenKey(*one): "token"}.get(TokenKey(*other))
    assert (found is not None) == (one == other)


@given(key=st.tuples(parts, parts, parts), field=st.sampled_from(TokenKey._fields), value=parts)
def test_a_key_that_differs_in_one_field_is_another_key(key: tuple[str, str, str], field: str, value: str) -> None:
    """SEC-01: each field counts."""
    first = TokenKey(*key)
    second = first._replace(**{field: value})
    assert (hash(first), first) != (hash(second), second) or getattr(first, field) == value
