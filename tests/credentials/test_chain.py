"""What becomes of the links of a chain when Entra or the vault refuses one."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import jwt
import pytest

from shared.core.errors import CredentialRefused, OperatorError, Unavailable, UpstreamError
from shared.credentials.check import standing
from tests.clock import run_virtual, settle
from tests.credentials.bench import ENDPOINT
from tests.credentials.registration import Registration
from tests.tables import case_id, cases

HOUR = 3_600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One flight; tests/data/chain.toml describes the fields."""

    id: str
    versions: int
    answers: dict[str, list[str]]
    reused: bool = False
    asked: list[str]
    outcome: str
    resting: list[str]
    signings: int | None = None
    readings: int | None = None


async def outcome(registration: Registration, *, in_background: bool = False) -> str:
    """Let one flight acquire a token, and name how it ended."""
    try:
        await registration.acquire(in_background=in_background)
    except UpstreamError as error:
        return type(error).__name__
    return "ok"


@pytest.mark.parametrize("case", cases("chain.toml", Case), ids=case_id)
def test_a_refusal_decides_by_its_number(case: Case) -> None:
    """Each row of the table of numbers: with which links Entra is asked, and which rest afterwards."""
    registration = Registration(versions=case.versions)

    async def story() -> str:
        if case.reused:
            await registration.acquire()
            registration.asked.clear()
        registration.answers = {version: list(answers) for version, answers in case.answers.items()}
        return await outcome(registration)

    assert asyncio.run(story()) == case.outcome
    assert (registration.asked, registration.resting) == (case.asked, case.resting)
    assert registration.vault.signings == (case.signings or registration.vault.signings)
    assert registration.vault.readings == (case.readings or registration.vault.readings)


def test_a_refused_assertion_is_not_sent_again() -> None:
    """FND-G5: a refusal has proved it wrong, so its nine minutes are over; the next proof is signed anew."""
    registration = Registration()
    registration.answers = {"v1": ["7999999"]}
    for _ in range(2):
        asyncio.run(outcome(registration))
    first, second = (sent["client_assertion"] for sent in registration.sent)
    assert first != second


def test_flights_at_once_ask_with_each_credential_once_each() -> None:
    """What one flight learns of the links does not make another begin again: 20 requests for ten at the most."""
    registration = Registration(versions=2)
    registration.register()

    async def story() -> None:
        assert await asyncio.gather(*(outcome(registration) for _ in range(10))) == ["CredentialRefused"] * 10

    asyncio.run(story())
    assert len(registration.asked) <= 20
    registration.clock.tick(661)
    assert registration.resting == []  # ten flights at once are one refusal of each link, and its first rest


@pytest.mark.parametrize(
    ("registered", "flights"), [("v6", 2), ("v5", 2), ("v4", 2), ("v4", 10), ("v3", 2), ("v2", 2), ("v2", 10)]
)
def test_flights_at_once_find_the_registered_version_together(registered: str, flights: int) -> None:
    """FND-G3: a flight alone ends at its fourth link, and so did each of several; now one learns from the others."""
    registration = Registration(versions=7)
    registration.register(registered)

    async def story() -> None:
        assert await asyncio.gather(*(outcome(registration) for _ in range(flights))) == ["ok"] * flights

    asyncio.run(story())
    # The newest at once, before any refusal is known; then each once, until one is accepted.
    before = ["v1", "v6", "v5", "v4", "v3", "v2"]
    before = before[: before.index(registered)]
    assert registration.asked == ["v7"] * flights + before + [registered] * flights


def test_flights_at_once_find_another_version_where_the_accepted_one_is_taken_off() -> None:
    """FND-G3: what Entra has accepted before is one more that it refuses; it is not taken for accepted any more."""
    registration = Registration(versions=7)
    registration.register("v7")

    async def story() -> None:
        await registration.acquire()
        registration.asked.clear()
        registration.register("v2")
        assert await asyncio.gather(*(outcome(registration) for _ in range(2))) == ["ok", "ok"]

    asyncio.run(story())
    assert registration.asked == ["v7", "v7", "v1", "v6", "v5", "v4", "v3", "v2", "v2"]


@pytest.mark.parametrize(("ends", "served"), [(5, 5), (20, 10)], ids=["its time is over", "it goes on"])
def test_a_flight_that_hangs_holds_the_others_up_for_half_of_their_time(ends: int, served: int) -> None:
    """While the first asks with v1, the second waits for what comes of it: until it ends, or for ten seconds."""
    registration = Registration(versions=2)
    registration.answers = {"v2": ["700027"], "v1": ["hang", "ok"]}

    async def story() -> None:
        begun = asyncio.get_running_loop().time()
        hung, other = (asyncio.create_task(outcome(registration)) for _ in range(2))
        asyncio.get_running_loop().call_later(ends, hung.cancel)
        assert await other == "ok"
        assert asyncio.get_running_loop().time() - begun == pytest.approx(served)
        await asyncio.wait([hung])

    run_virtual(story, registration.clock)
    assert registration.asked == ["v2", "v2", "v1", "v1"]


def test_a_vault_that_is_away_does_not_hide_a_refusal() -> None:
    """Every known link is refused, and the list cannot be read again at that moment: the refusal is the answer."""
    registration = Registration()

    async def story() -> str:
        await registration.acquire()
        registration.register()
        registration.clock.tick(60)
        registration.vault.unreadable = Unavailable(cause="Key Vault: HTTP 503")
        return await outcome(registration)

    assert asyncio.run(story()) == "CredentialRefused"


def test_the_accepted_link_is_asked_with_first() -> None:
    """One refusal is paid once; what is refused is not asked with again while another link serves."""
    registration = Registration(versions=3)
    registration.register("v2")
    for _ in range(5):
        asyncio.run(registration.acquire())
    assert registration.asked == ["v3", "v1", "v2", "v2", "v2", "v2", "v2"]


def test_a_background_flight_moves_to_the_newer_version() -> None:
    """REL-30: once it is old enough and not resting; nobody waits for the trial."""
    registration = Registration(versions=1)
    registration.register("v1", "v2")

    async def story() -> None:
        await registration.acquire()
        registration.vault.versions["v2"] = registration.vault.version()
        for wait in (6 * HOUR, 0, 17 * HOUR, 1 * HOUR):
            registration.clock.tick(wait)
            await registration.acquire(in_background=True)
            await settle()
        await registration.acquire()

    asyncio.run(story())
    assert registration.asked == ["v1", "v1", "v1", "v1", "v2", "v2"]


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_registered_late_is_used_within_a_minute(count: int) -> None:
    """FND-G2: however long every link was refused; meanwhile each is asked with once a minute."""
    registration = Registration(versions=count)
    registration.register()

    async def story() -> None:
        for _ in range(2 * 360):  # 12 hours, twice a minute
            assert await outcome(registration) == "CredentialRefused"
            registration.clock.tick(30)
        assert len(registration.resting) == count
        assert len(registration.asked) <= count * (6 * 60 + 1)
        registration.register("v1")
        registration.clock.tick(60)
        await registration.acquire()

    asyncio.run(story())


def test_a_refusal_is_remembered_for_what_is_left_of_its_minute() -> None:
    """Another key that comes later asks nothing, and does not begin the minute again."""
    registration = Registration()
    registration.register()

    async def story() -> None:
        assert await outcome(registration) == "CredentialRefused"
        registration.clock.tick(50)
        with pytest.raises(CredentialRefused) as caught:
            await registration.acquire()
        assert caught.value.upstream_wait is not None
        assert caught.value.upstream_wait.total_seconds() == pytest.approx(10)

    asyncio.run(story())
    assert registration.asked == ["v1"]


def test_a_refusal_is_remembered_for_an_hour_at_most() -> None:
    """`retry_after_cap_seconds`: whatever wait an answer names, the link is asked with again after it."""
    registration = Registration()
    registration.register()
    registration.retry_after = "86400"

    async def story() -> None:
        for wait in (HOUR - 1, 1):
            assert await outcome(registration) == "CredentialRefused"
            registration.clock.tick(wait)
        assert registration.asked == ["v1"]
        registration.register("v1")
        await registration.acquire()

    asyncio.run(story())


def test_rests_double_up_to_six_hours() -> None:
    """Ten minutes at first, twice as long after each further refusal, and from the beginning after an acceptance."""
    registration = Registration(versions=2)
    registration.register("v1")

    async def story(refusals: int) -> list[float]:
        found = []
        for _ in range(refusals):
            await registration.acquire(in_background=True)
            begun = registration.clock.boot()
            while "v2" in registration.resting:
                registration.clock.tick(60)
            found.append(registration.clock.boot() - begun)
        return found

    assert asyncio.run(story(8)) == [600, 1_200, 2_400, 4_800, 9_600, 19_200, 21_600, 21_600]
    registration.register("v1", "v2")
    asyncio.run(registration.acquire(in_background=True))
    registration.register("v1")
    registration.clock.tick(540)
    assert asyncio.run(story(1)) == [600]


def test_a_new_version_is_found_when_every_known_one_is_refused() -> None:
    """FND-G2: an emergency. The old version is taken off the registration, and a new one was registered: no failure."""
    registration = Registration()

    async def story() -> None:
        await registration.acquire()
        registration.clock.tick(60)
        registration.vault.versions["v2"] = registration.vault.version()
        registration.register("v2")
        await registration.acquire()

    asyncio.run(story())
    assert registration.asked == ["v1", "v1", "v2"]


def disabled(registration: Registration) -> None:
    """Disable the version that signs, beside a new one."""
    old = registration.vault.versions["v1"]
    registration.vault.versions = {
        "v1": type(old)("", enabled=False, created=old.created, not_before=old.not_before, not_after=old.not_after),
        "v2": registration.vault.version(),
    }
    registration.vault.sign_errors = {"v1": OperatorError(cause="Key Vault: KeyDisabled")}


def test_a_refused_signature_has_the_vault_read_again() -> None:
    """FND-G1: v1 is disabled; the list is read again at once, and v2 signs."""
    registration = Registration()

    async def story() -> None:
        await registration.acquire()
        registration.clock.tick(HOUR)
        disabled(registration)
        await registration.acquire()

    asyncio.run(story())
    assert (registration.asked, registration.vault.readings) == (["v1", "v2"], 2)


def test_what_is_known_stays_where_the_vault_cannot_be_read() -> None:
    """FND-G1: the signature is refused, and the list cannot be read at that moment: nothing is forgotten."""
    registration = Registration(versions=2)

    async def story() -> str:
        await registration.acquire()
        registration.clock.tick(HOUR)
        registration.vault.sign_errors = {"v2": OperatorError(cause="Key Vault: KeyDisabled")}
        before = registration.version()
        registration.vault.unreadable = Unavailable(cause="Key Vault: HTTP 503")
        ended = await outcome(registration)
        assert registration.version() == before
        return ended

    assert asyncio.run(story()) == "ok"
    assert registration.asked == ["v2", "v1"]


def test_a_vault_that_refuses_everything_is_asked_once_a_minute() -> None:
    """REL-24: one signature, and one look at the list."""
    registration = Registration()

    async def story() -> None:
        await registration.acquire()
        registration.clock.tick(HOUR)
        registration.vault.error = OperatorError(cause="Key Vault: HTTP 403")
        readings, signings = registration.vault.readings, registration.vault.signings
        for _ in range(60):
            assert await outcome(registration) == "OperatorError"
            registration.clock.tick(1)
        assert (registration.vault.readings - readings, registration.vault.signings - signings) == (1, 1)

    asyncio.run(story())


@pytest.mark.parametrize("is_hung", [False, True], ids=["503", "hung"])
def test_a_link_whose_proof_cannot_be_made_is_passed_over(*, is_hung: bool) -> None:
    """The vault of the first credential is away; the second one serves within half of the time, and nothing rests."""
    away, serving = Registration(), Registration()
    away.vault.versions = {"v9": away.vault.version(days=-90)}
    registration = Registration(credentials=[away.credential, serving.credential])

    async def story(steps: Sequence[str]) -> None:
        for step in steps:
            if step == "away":
                away.vault.error, away.vault.is_hung = (None, True) if is_hung else (Unavailable(cause="down"), False)
            for each in (away, serving, registration):
                each.clock.tick(600)
            begun = asyncio.get_running_loop().time()
            await registration.acquire()
            assert asyncio.get_running_loop().time() - begun <= 10

    run_virtual(lambda: story(["well", "away", "away"]), registration.clock)
    assert (registration.asked, registration.resting) == (["v9", "v1", "v1"], [])


def test_the_only_link_has_all_of_the_time() -> None:
    """Half of the twenty seconds is for one of several: where it is the only one, a vault that takes 17 serves."""
    registration = Registration()

    async def story() -> None:
        for registration.vault.delay in (0, 17):
            registration.clock.tick(600)  # no assertion is reused
            await registration.acquire()

    run_virtual(story, registration.clock)
    assert registration.asked == ["v1", "v1"]


def test_a_credential_that_cannot_be_read_is_passed_over() -> None:
    """A fresh worker whose first vault is away is served by the second credential; the first is preferred later."""
    away, serving = Registration(), Registration()
    away.vault.versions = {"v9": away.vault.version(days=-90)}
    away.vault.error = Unavailable(cause="down")
    registration = Registration(credentials=[away.credential, serving.credential])

    async def story() -> None:
        for _ in range(3):
            await registration.acquire()
        readings = away.vault.readings
        assert readings == 1  # what serves is asked with first
        away.vault.error = None
        await registration.acquire(in_background=True)

    asyncio.run(story())
    assert registration.asked == ["v1", "v1", "v1", "v9"]


@pytest.mark.parametrize("is_known", [False, True], ids=["reading", "proof"])
def test_a_defect_of_one_credential_is_passed_over(*, is_known: bool) -> None:
    """An exception that no rule names is reported by its type, and never by its text; the next credential serves."""
    broken, serving = Registration(), Registration()
    broken.vault.versions = {"v9": broken.vault.version(days=-90)}
    registration = Registration(credentials=[broken.credential, serving.credential])

    async def story() -> None:
        if is_known:
            await broken.credential.read()
        broken.vault.error = ValueError("C4N4RY")
        await registration.acquire()

    asyncio.run(story())
    assert registration.asked == ["v1"]
    registration.events.flush()
    reported = [event for event in map(json.loads, registration.lines) if event.get("cause")]
    expected = "credential_rests" if is_known else "credential_unread"
    assert [(event["event"], event["cause"]) for event in reported] == [(expected, "ValueError")]
    assert "C4N4RY" not in "".join(registration.lines)


def test_a_defect_of_the_only_credential_is_a_defect() -> None:
    """A caller gets 500, as for any other mistake of vend itself."""
    registration = Registration()
    registration.vault.error = ValueError("C4N4RY")
    assert asyncio.run(outcome(registration)) == "Defect"


def test_what_may_pass_is_the_reason_before_what_does_not() -> None:
    """One link is refused and the vault of the other is away: that may pass, and is not remembered as permanent."""
    away, refused = Registration(), Registration()
    away.vault.error = Unavailable(cause="Key Vault: HTTP 503")
    registration = Registration(credentials=[refused.credential, away.credential])
    registration.register()
    with pytest.raises(Unavailable, match="HTTP 503"):
        asyncio.run(registration.acquire())


def test_an_expired_version_is_never_asked_with() -> None:
    """REL-29: nor one that is not valid yet, or disabled; a worker that runs does not look at the vault for it."""
    registration = Registration()
    registration.vault.versions["v1"] = registration.vault.version(life=1)
    registration.vault.versions["v2"] = registration.vault.version(days=-90)
    registration.vault.versions["v3"] = registration.vault.version(days=2)

    async def story() -> None:
        await registration.acquire()
        registration.clock.tick(DAY)
        await registration.acquire()

    asyncio.run(story())
    assert "v3" not in registration.asked
    assert registration.asked[-1] == "v2"


def test_a_credential_is_read_every_ten_seconds_at_most() -> None:
    """Whoever asks; those that ask while it is read wait for that reading."""
    registration = Registration()

    async def story() -> None:
        found: list[bool] = []
        for wait in (0, 9, 1):
            registration.clock.tick(wait)
            found += await asyncio.gather(registration.chain.reread(0), registration.chain.reread(0))
        assert found == [True, True, False, False, True, True]

    asyncio.run(story())
    assert registration.vault.readings == 2


def test_a_reading_that_fails_behind_the_callers_is_tried_again_after_a_minute() -> None:
    """REL-24: a list of six hours ago serves meanwhile."""
    registration = Registration()

    async def story() -> None:
        await registration.acquire()
        registration.clock.tick(6 * HOUR)
        registration.vault.unreadable = Unavailable(cause="Key Vault: HTTP 503")
        counts = []
        for wait in (0, 59, 1, 59, 1):
            registration.clock.tick(wait)
            registration.chain.keep_fresh(lambda _: None)
            await settle()
            counts.append(registration.vault.readings)
        assert counts == [2, 2, 3, 3, 4]

    asyncio.run(story())


def test_a_link_is_reported_when_another_one_was_accepted_before() -> None:
    """The first one too, and no link twice in a row."""
    registration = Registration(versions=2)

    async def story() -> None:
        for accepted in ("v2", "v1", "v1"):
            registration.register(accepted)
            await registration.acquire()

    asyncio.run(story())
    registration.events.flush()
    events = [event for event in map(json.loads, registration.lines) if event["event"] == "credential_accepted"]
    assert [event["credential"].rpartition("/")[2] for event in events] == ["v2", "v1"]


def test_the_chain_names_the_links_that_are_usable() -> None:
    """FND-D6: a permanent failure counts for this set of links, so a new version lets the next flight start."""
    registration = Registration()
    assert registration.version() == ""
    asyncio.run(registration.chain.reread(0))
    before = registration.version()
    registration.vault.versions["v2"] = registration.vault.version()
    registration.clock.tick(60)
    asyncio.run(registration.chain.reread(0))
    assert len({"", before, registration.version()}) == 3


def test_the_proofs_of_one_flight_are_for_its_endpoint() -> None:
    """The audience of every assertion is the token endpoint of the tenant."""
    registration = Registration(versions=2)
    registration.register("v1")
    asyncio.run(registration.acquire())
    audiences = {
        jwt.decode(sent["client_assertion"], options={"verify_signature": False})["aud"] for sent in registration.sent
    }
    assert audiences == {ENDPOINT}


def test_a_newer_version_that_is_refused_counts_until_it_is_accepted() -> None:
    """From an age of 26 hours on, and longer than it rests; the end is that of the version that serves."""
    registration = Registration(versions=1)
    registration.register("v1")

    def stands() -> tuple[float, bool]:
        found = standing(registration.chain, registration.clock())
        assert found
        assert found.end
        return (found.end.timestamp() - began) / DAY, found.newer_refused

    async def story() -> None:
        assert standing(registration.chain, registration.clock()) is None
        await registration.acquire()
        registration.clock.tick(60)
        await registration.chain.reread(0)
        registration.clock.tick(26 * HOUR - 61)
        await registration.acquire(in_background=True)
        assert stands() == (365 - 7, False)
        registration.clock.tick(1)
        assert stands() == (365 - 7, True)
        registration.clock.tick(HOUR)
        assert (stands(), registration.resting) == ((365 - 7, True), [])
        registration.register("v1", "v2")
        await registration.acquire(in_background=True)
        assert stands() == (365, False)

    began = registration.clock.wall()
    registration.vault.versions["v2"] = registration.vault.version()
    asyncio.run(story())


def test_what_is_not_newer_is_no_reason_to_warn() -> None:
    """Neither an older version than the one that serves, nor the only one there is."""
    registration = Registration()
    registration.register()

    async def story() -> None:
        assert await outcome(registration) == "CredentialRefused"
        assert standing(registration.chain, registration.clock()) == (
            registration.vault.versions["v1"].not_after,
            False,
        )
        registration.clock.tick(60)
        registration.vault.versions["v2"] = registration.vault.version()
        registration.register("v2")
        await registration.acquire()
        registration.clock.tick(26 * HOUR)
        assert standing(registration.chain, registration.clock()) == (
            registration.vault.versions["v2"].not_after,
            False,
        )

    asyncio.run(story())
