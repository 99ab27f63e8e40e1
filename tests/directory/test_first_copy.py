"""A first copy that takes far longer than a run may, of a Graph whose page tokens live for minutes, or that hangs."""

from contextlib import closing
from pathlib import Path

import pytest

from emulator.directory.population import Size
from shared.wiring.directory import SYNC_SECONDS
from tests.directory.model import Model
from tests.directory.places import FILES, opener

pytestmark = pytest.mark.slow

TICK = 60.0
TOKEN_SECONDS = 300.0
PAGE_SECONDS = 50.0
USERS = 72
SIZE = Size(users=USERS, groups=12, members=5, largest=15, service_principals=12, applications=12, devices=4)
PAGES_A_RUN = SYNC_SECONDS // PAGE_SECONDS


@pytest.mark.parametrize("place", FILES)
def test_a_first_copy_takes_as_many_runs_as_it_needs(
    request: pytest.FixtureRequest, tmp_path: Path, place: str
) -> None:
    """DIR-02: an hour of pages, in runs of 240 s at the timer's ticks. Every link is read while it lives.

    The run that ends in the middle of a page leaves that page to the next one. Nothing is copied anew.
    """
    assert USERS * PAGE_SECONDS == 3_600
    with closing(Model(opener(place, tmp_path, request), size=SIZE, seed=1)) as model:
        model.switches.page_size = 1
        model.switches.page_seconds, model.switches.page_token_seconds = PAGE_SECONDS, TOKEN_SECONDS
        runs, ended = 0, set[str]()
        while "users" not in ended:
            model.clock.tick(TICK - model.clock().boot % TICK)
            began = model.clock().boot
            events = [event for event in model.fire() if event["event"] != "directory_credential_ends"]
            runs += 1
            assert model.clock().boot - began <= SYNC_SECONDS
            assert {event["event"] for event in events} <= {"sync_finished"}
            ended |= {event["stream"] for event in events if event["outcome"] == "complete"}
            assert runs <= USERS / PAGES_A_RUN
        assert runs == USERS / PAGES_A_RUN
        assert model.differences() == []


@pytest.mark.parametrize("place", FILES)
def test_a_graph_that_hangs_for_all_of_a_run_is_a_failure(
    request: pytest.FixtureRequest, tmp_path: Path, place: str
) -> None:
    """FND-D10: such a run has not ended well, and the timer leaves the streams alone for a while."""
    with closing(Model(opener(place, tmp_path, request), size=SIZE, seed=1)) as model:
        model.switches.page_seconds = 2 * SYNC_SECONDS
        told = {(event["event"], event["cause"]) for event in model.fire()}
        assert told == {("sync_failed", "Graph: no page within 120 s")}
        assert model.fire() == []
