"""Clocks, sleep, chance, ids, threads and a folder of the machine, as one value that a test can replace."""

import asyncio
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from shared.core.token import Clock, Moment

THREADS = 4


class SystemClock:
    """This machine's clocks."""

    wall = staticmethod(time.time)
    # It goes on during a suspend where the system has such a clock.
    boot = staticmethod(
        partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
    )

    def __call__(self) -> Moment:
        """Read both clocks."""
        return Moment(self.wall(), self.boot())


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _uuid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The facts that no pure function can know.

    Args:
        clock: both clocks.
        sleep: waits for some seconds.
        chance: returns a number from 0 to 1, for jitter.
        new_id: returns an id that nobody can guess.
        threads: run what takes a processor for a while. Others share the pool of the event loop and may fill it.
        temporary: returns the folder of what can be made anew; others may write there too.
    """

    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    new_id: Callable[[], str] = _uuid
    threads: Executor = field(default_factory=partial(ThreadPoolExecutor, THREADS, thread_name_prefix="vend"))
    temporary: Callable[[], Path] = _temporary
