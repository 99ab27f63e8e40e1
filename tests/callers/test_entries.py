"""A document with mistakes, and a worker that reads it: which callers are served, and what is said of it."""

import pytest

from shared.callers.health import DocumentFacts, DocumentHealth
from shared.core.errors import NotReady, Unavailable, UnknownCaller
from tests.callers.test_age import DAY, MUST_CHECK, OTHER_KEY, Desk, digest, entry, tell
from tests.core.test_policy import OFFERS


def test_a_mistake_costs_the_caller_that_has_it() -> None:
    """REL-64, FND-C3: a fresh worker serves the others, and says how many it refuses and why; a key stays its key."""

    async def story(desk: Desk) -> None:
        assert await desk.who() == "billing"
        with pytest.raises(UnknownCaller, match="the entry of reports has mistakes"):
            await desk.who(OTHER_KEY)
        assert await desk.who("a third key") == "*"
        (event,) = desk.told()
        assert (event["event"], event["count"]) == ("callers_refused", 2)
        assert event["mistakes"] == [
            "callers.reports.colour: is not a setting",
            "callers.gone.allow[0].profile: there is no such profile",
        ]
        assert await desk.callers.health() == DocumentHealth(0, is_failing=False, refused=2)
        found = digest(text)
        assert desk.callers.facts == DocumentFacts(in_force=found, newest=found, refused=2, generation=1)

    gone = entry("gone", "a key of gone", "allow = [{ profile = 'nope', scopes = ['api://a/.default'] }]")
    text = entry() + entry("reports", OTHER_KEY, "colour = 1") + gone + "[callers.'*']\n"
    tell(story, text)


def test_nobody_is_everybody_while_a_key_cannot_be_read() -> None:
    """REL-64: any unknown key may be the one that is spoilt; the event says so, and a mended document ends it."""

    async def story(desk: Desk) -> None:
        assert await desk.who() == "billing"
        with pytest.raises(UnknownCaller):
            await desk.who(OTHER_KEY)
        warning = next(event for event in desk.told() if event["event"] == "callers_warning")
        assert warning["warnings"][0].startswith("callers.*: stands for nobody")
        assert warning["warnings"][0] in desk.callers.mistakes
        desk.text = entry() + "[callers.'*']\n"
        await desk.later()
        assert await desk.who(OTHER_KEY) == "*"
        assert desk.callers.mistakes == ()

    tell(story, entry() + "[callers.reports]\nkey_sha256 = ['0']\n[callers.'*']\n")


def test_mistakes_that_would_refuse_most_callers_refuse_the_document() -> None:
    """REL-64: the callers stay; a worker that serves nobody takes it by its entries."""

    async def story(desk: Desk) -> None:
        assert await desk.who(OTHER_KEY) == "reports"
        good, desk.text = digest(str(desk.text)), spoilt
        await desk.later()
        assert (await desk.who(), await desk.who(OTHER_KEY)) == ("billing", "reports")
        facts = DocumentFacts(in_force=good, newest=digest(spoilt), refused=0, generation=1)
        assert desk.callers.facts == facts
        assert (
            desk.callers.mistakes[0]
            == "callers: mistakes would take everything from 2 of the 2 callers that are served now"
        )
        await desk.later(DAY)
        desk.text = Unavailable(cause="away")
        with pytest.raises(NotReady):
            await desk.who()
        assert desk.callers.facts == DocumentFacts(in_force=None, newest=digest(spoilt), refused=0, generation=1)
        desk.text = spoilt
        await desk.later()
        with pytest.raises(UnknownCaller):
            await desk.who()
        assert desk.callers.facts.refused == 2

    spoilt = entry(more="colour = 1") + entry("reports", OTHER_KEY, "colour = 1")
    tell(story, entry() + entry("reports", OTHER_KEY))


def test_callers_whose_time_is_over_are_not_counted() -> None:
    """REL-64: they are no callers that a document could keep; which they are is known when the document is read."""

    async def story(desk: Desk) -> None:
        assert await desk.who() == "billing"
        desk.text = entry(more="colour = 1") + reports
        await desk.later()
        assert await desk.who() == "billing"
        expected = "callers: mistakes would take everything from 1 of the 1 callers that are served now"
        assert desk.callers.mistakes[0] == expected

    reports = entry("reports", OTHER_KEY, "not_after = 2027-01-15T08:00:20Z")
    tell(story, entry() + reports)


def test_grants_that_no_profile_resolves_any_more_count() -> None:
    """REL-64: a slip in the name of a profile is a mishap, too, if it takes everything from more than half of them."""

    async def story(desk: Desk) -> None:
        good = str(desk.text)
        assert await desk.who() == "billing"
        desk.text = good.replace("'graph'", "'grpah'")
        await desk.later()
        assert (await desk.who(), desk.callers.facts.in_force) == ("billing", digest(good))
        assert desk.callers.mistakes[1] == "callers.billing.allow[0].profile: there is no such profile"

    tell(story, entry(more="allow = [{ profile = 'graph', scopes = ['api://a/.default'] }]"), OFFERS)


def test_a_mistake_that_is_taken_back_is_forgotten() -> None:
    """What lies there is the document in force again, unchanged, so nothing newer was read."""

    async def story(desk: Desk) -> None:
        await desk.who()
        good, desk.text = str(desk.text), "colour = 1"
        await desk.later()
        await desk.who()
        assert desk.callers.mistakes == ("colour: is not a setting",)
        desk.text = good
        await desk.later()
        await desk.who()
        assert not desk.callers.mistakes
        assert desk.callers.facts == DocumentFacts(in_force=digest(good), newest=digest(good), generation=1)

    tell(story, entry())


def test_a_generation_never_goes_down() -> None:
    """FND-C4: an older document is refused by a worker that had a newer one, also after a day without any."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = "generation = 2\n" + entry("reports", OTHER_KEY)
        for seconds in (MUST_CHECK, DAY + 1):
            await desk.later(seconds)
            with pytest.raises((UnknownCaller, NotReady)):
                await desk.who(OTHER_KEY)
        assert desk.told()[0]["mistakes"] == ["generation: is less than 5, which was in force; it never goes down"]
        assert desk.callers.facts.generation == 5
        desk.text = "generation = 5\n" + entry("reports", OTHER_KEY)
        await desk.later()
        assert await desk.who(OTHER_KEY) == "reports"
        assert desk.cleared == 0

    tell(story, "generation = 5\n" + entry())


def test_a_document_that_is_not_put_in_force_clears_nothing() -> None:
    """FND-C4, SEC-22: its generation counts once its callers do."""

    async def story(desk: Desk) -> None:
        await desk.who()
        desk.text = "generation = 2\n" + entry(more="colour = 1")
        await desk.later()
        assert (await desk.who(), desk.cleared) == ("billing", 0)
        desk.text = "generation = 2\n" + entry()
        await desk.later()
        assert (await desk.who(), desk.cleared) == ("billing", 1)

    tell(story, "generation = 1\n" + entry())
