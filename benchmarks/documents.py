"""Target 16: callers documents that cost as much as they can, beside the largest good one.

The shapes are those whose bounds the tests hold: `tests/core/documents/shapes.py`. Each is read at the largest size of
a document, at 1 MiB, and at the largest size at which it is not refused before it is parsed.
"""

import time
import tomllib
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

from benchmarks.ours import KEY
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI, by_turns, medians
from shared.core.documents.callers import parse_callers
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.toml import DocumentError
from shared.core.policy import Offer
from tests.core.documents.shapes import MIB, SHAPES, fitting, good

OFFERS = {KEY.profile: Offer(tenants=(KEY.tenant_id,), scopes=(KEY.scope,), client_id="", vendable=True)}
LARGEST = "largest good document"
TOMLLIB = "tomllib, good callers"


def rows(scale: Scale) -> list[Row]:
    """Take the CPU and the memory of the most expensive shape at each size."""
    size, large = scale.pick(DOCUMENT_BYTES, 4_096), scale.pick(MIB, 2 * DOCUMENT_BYTES)
    names = list(SHAPES)[: scale.pick(len(SHAPES), 3)]
    largest = good(size)
    shapes = [SHAPES[name] for name in names if SHAPES[name] is not good]
    at_limit, at_large = [shape(size) for shape in shapes], [shape(large) for shape in (*shapes, good)]
    parsed = [fitting(shape) for shape in shapes]
    by_limit = medians(by_turns({VEND: _read(_worst(at_limit)), LARGEST: _read(largest)}, scale))
    by_large = medians(by_turns({VEND: _read(_worst(at_large)), TOMLLIB: _parse(good(scale.pick(MIB, 4_096)))}, scale))
    by_parsed = medians(by_turns({VEND: _read(_worst(parsed)), LARGEST: _read(largest)}, scale))
    memory = {VEND: max(map(_peak, (*at_limit, *at_large, *parsed))), LARGEST: _peak(largest)}
    of_largest, what = Goal("ratio", "<=", 1.5), "Callers document of the most expensive shape"
    return [
        compared(by_limit, "documents", what=f"{what}, 256 KiB: CPU", unit="ms", against=LARGEST, goal=of_largest),
        compared(
            by_large,
            "documents-1mib",
            what=f"{what}, 1 MiB: CPU",
            unit="ms",
            against=TOMLLIB,
            goal=Goal("ours", "<=", 5),
        ),
        compared(
            by_parsed,
            "documents-parsed",
            what=f"{what}, as much as is parsed: CPU",
            unit="ms",
            against=LARGEST,
            goal=of_largest,
        ),
        compared(
            memory,
            "documents-memory",
            what=f"{what}, any size: memory",
            unit="MB",
            against=LARGEST,
            goal=Goal("ours", "<=", 20),
        ),
    ]


def _worst(texts: list[str]) -> str:
    """Return the most expensive one."""
    return max(texts, key=lambda text: min(_read(text)() for _ in range(3)))


def _read(text: str) -> Callable[[], float]:
    """Return what takes the CPU of reading a document, in milliseconds, whatever becomes of it."""
    encoded = text.encode()

    def read() -> float:
        began = time.process_time()
        with suppress(DocumentError):
            parse_callers(encoded, OFFERS, name="callers.toml")
        return (time.process_time() - began) * MILLI

    return read


def _parse(text: str) -> Callable[[], float]:
    """Return what takes the CPU of Python's parser alone."""

    def parse() -> float:
        began = time.process_time()
        tomllib.loads(text)
        return (time.process_time() - began) * MILLI

    return parse


def _peak(text: str) -> float:
    """Measure the most that reading a document takes at once, in MB."""
    encoded = text.encode()
    tracemalloc.start()
    with suppress(DocumentError):
        parse_callers(encoded, OFFERS, name="callers.toml")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6
