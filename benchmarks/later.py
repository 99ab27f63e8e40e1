"""Moves the time that Python reads, for the libraries have no clock that could be handed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import time_machine


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """Let the body run so much later; its own time passes as always, and so do timeouts."""
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        yield
