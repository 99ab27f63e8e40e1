"""A tenant that evolves at random, with every fault between: at the end the copy is the tenant, exactly."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.directory.model import Model

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens before a run of the sync, and in it.

    Args:
        changes: how many changes the tenant makes.
        purges: of which group a member is removed for good; None: of no group.
        later: seconds since the last run.
        fails: how many requests to Graph fail.
        refuses: how many next links Graph refuses.
        forgets: Graph forgets every link.
        killed_at: at which call to the store or to Graph the process is killed; 0: it is not.
    """

    changes: int
    purges: int | None
    later: float
    fails: int
    refuses: int
    forgets: bool
    killed_at: int


turns = st.builds(
    Turn,
    changes=st.integers(0, 15),
    purges=st.none() | st.integers(0, 11),
    later=st.sampled_from([60.0, 900.0, 4_000.0, 86_400.0]),
    fails=st.sampled_from([0, 0, 0, 1, 5]),
    refuses=st.sampled_from([0, 0, 0, 1]),
    forgets=st.sampled_from([False, False, True]),
    killed_at=st.integers(0, 60),
)
switches = st.fixed_dictionaries(
    {
        "shuffled": st.booleans(),
        "repeats": st.booleans(),
        "removed_in_first_round": st.booleans(),
        "nulls_in_first_round": st.booleans(),
        "empty_pages_between": st.integers(0, 1),
    }
)


@given(seed=st.integers(1, 10_000), awkward=switches, plan=st.lists(turns, min_size=1, max_size=6))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=settings().max_examples // 5,
)
def test_the_copy_is_the_tenant(
    tmp_path_factory: pytest.TempPathFactory, seed: int, awkward: dict[str, bool | int], plan: list[Turn]
) -> None:
    """DIR-01 to DIR-18: nothing is lost, nothing is there twice, and nothing comes back."""
    model = Model(tmp_path_factory.mktemp("model"), seed=seed)
    vars(model.switches).update(awkward)
    events = []
    for turn in plan:
        model.evolution.run(turn.changes)
        if turn.purges is not None:
            model.purge_member(turn.purges)
        model.clock.tick(turn.later)
        model.fails, model.switches.refused_next_links = turn.fails, turn.refuses
        if turn.forgets:
            model.forget()
        events += model.sync(killed_at=turn.killed_at)
    model.switches.refused_next_links = 0
    events += model.settle()
    # A loss that is not believed is held on purpose: tests/data/directory.toml has such cases.
    assume(all(event["event"] != "sync_held" for event in events))
    assert {event["event"] for event in events} <= {
        "sync_finished", "sync_failed", "sync_skipped", "sync_restarted", "directory_credential_ends",
    }  # fmt: skip
    assert model.differences() == []
