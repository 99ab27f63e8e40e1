"""How a command waits: by a clock and a sleep, which tests replace."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import typer


@dataclass(frozen=True, slots=True)
class Patience:
    """A clock in seconds, and a sleep."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


def patience_of(context: typer.Context) -> Patience:
    """Return how this command waits."""
    return context.obj if isinstance(context.obj, Patience) else Patience()
