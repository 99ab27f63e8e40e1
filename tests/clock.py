"""Both clocks, moved by hand."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from shared.core.token import Moment
from shared.system import System


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._wall = 1_800_000_000.0
        self._boot = 1_000.0

    def __call__(self) -> Moment:
        """Read both."""
        return Moment(wall=self._wall, boot=self._boot)

    def wall(self) -> float:
        """Read the wall clock."""
        return self._wall

    def boot(self) -> float:
        """Read the boot clock."""
        return self._boot

    def tick(self, seconds: float) -> None:
        """Let time pass: both clocks go on."""
        self._wall += seconds
        self._boot += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock; no time passes."""
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """Let time pass while somebody holds the wall clock back."""
        self._boot += seconds


async def no_sleep(_: float) -> None:
    """Wait for nothing."""


def fake_system(
    clock: FakeClock,
    *,
    sleep: Callable[[float], Awaitable[None]] = no_sleep,
    chance: Callable[[], float] = lambda: 0.0,
    new_id: Callable[[], str] = lambda: "an-id",
    temporary: Callable[[], Path] = lambda: Path("/nowhere"),
) -> System:
    """Make a system that a test controls."""
    return System(clock=clock, sleep=sleep, chance=chance, new_id=new_id, temporary=temporary)


class _Leap(selectors.SelectSelector):
    """Waits for nothing: where asyncio would sleep, the clock moves on."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give what is ready, or let the time pass until the next timer."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for what never comes")
            self._clock.tick(max(timeout, 0))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers run on a fake clock: a deadline of 20 s takes no time, and comes in its order."""

    def __init__(self, clock: FakeClock) -> None:
        self._fake = clock
        super().__init__(_Leap(clock))

    def time(self) -> float:
        """Read the fake clock, in place of the monotonic one."""
        return self._fake().boot


def run_virtual(story: Callable[[], Coroutine[Any, Any, None]], clock: FakeClock) -> None:
    """Run one story in virtual time; a task that nobody awaited may not fail in silence.

    No real I/O in it: while the story waits for a socket, hours would pass.
    """
    reported: list[str] = []

    async def told() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context)))
        await story()
        await settle()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        runner.run(told())
    assert reported == []


async def settle() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(10):
        await asyncio.sleep(0)
