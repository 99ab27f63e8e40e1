"""How time is taken: contenders by turns, so that a noisy minute hits all of them, and the median of the rounds."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.rows import Scale

MICRO = 1e6
MILLI = 1e3
SLICES = 50


def by_turns[T](contenders: Mapping[str, Callable[[], T]], scale: Scale) -> dict[str, list[T]]:
    """Give what each contender returned, round by round.

    Each round asks every contender once; who begins changes from round to round.
    """
    names = list(contenders)
    found: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(scale.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contenders[name]())
    return found


def medians(found: Mapping[str, list[float]]) -> dict[str, float]:
    """Give each contender's median figure."""
    return {name: statistics.median(figures) for name, figures in found.items()}


def each(call: Callable[[], object], times: int) -> float:
    """Time one call among many, in microseconds: the best of many slices, for what else runs here only ever adds."""
    size = max(1, times // SLICES)
    figures = []
    with _no_garbage():
        for _ in range(max(1, times // size)):
            began = time.perf_counter()
            for _ in range(size):
                call()
            figures.append((time.perf_counter() - began) / size)
    return min(figures) * MICRO


async def each_awaited(call: Callable[[], Awaitable[object]], times: int) -> float:
    """Do the same for what is awaited."""
    size = max(1, times // SLICES)
    figures = []
    with _no_garbage():
        for _ in range(max(1, times // size)):
            began = time.perf_counter()
            for _ in range(size):
                await call()
            figures.append((time.perf_counter() - began) / size)
    return min(figures) * MICRO


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep the collector's pauses out."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def share(figures: list[float], part: float) -> float:
    """Find the figure that this part of all figures does not exceed: 0.99 for p99."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
