"""How a command waits, and what time it is: by clocks and a sleep, which tests replace."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import typer


@dataclass(frozen=True, slots=True)
class Patience:
    """A clock that never jumps, a sleep, and the time of day in seconds since the epoch."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], float] = time.time


DEFAULT_PATIENCE = Patience()


def patience_of(context: typer.Context) -> Patience:
    """Return how this command waits."""
    return context.obj if isinstance(context.obj, Patience) else DEFAULT_PATIENCE
