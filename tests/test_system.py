"""What the machine gives: the values that every other test replaces."""

import re
import time

import pytest

from shared.system import System
from tests.clock import FakeClock, run_virtual


def test_the_two_clocks_are_two() -> None:
    """REL-36, FND-H6: one reads the time of day, the other one counts from a fixed instant, and no jump moves it."""
    clock = System().clock
    now = clock()
    assert now.wall == pytest.approx(time.time(), abs=5)
    assert now.boot == pytest.approx(time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), abs=5)
    assert clock.wall() == pytest.approx(now.wall, abs=5)
    assert clock.boot() == pytest.approx(now.boot, abs=5)
    assert abs(now.wall - now.boot) > 3_600


def test_chance_and_ids_differ_each_time() -> None:
    """FND-H6: refreshes and waits are spread, and a correlation id names one request."""
    system = System()
    draws, ids = {system.chance() for _ in range(10)}, {system.new_id() for _ in range(10)}
    assert (len(draws), len(ids)) == (10, 10)
    assert all(0 <= draw < 1 for draw in draws)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", each) for each in ids)


def test_a_sleep_is_one_of_the_loop() -> None:
    """It lets others run, and takes as long as it says by the clock of the event loop."""
    clock = FakeClock()

    async def story() -> None:
        began = clock().boot
        await System().sleep(60)
        assert clock().boot == began + 60

    run_virtual(story, clock)
