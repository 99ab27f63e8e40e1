"""Callers documents that cost as much as they can: the tests hold them to bounds, the benchmarks take their time."""

from collections.abc import Callable

from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.toml import DocumentError, parse_toml

MIB = 1024 * 1024


def filled(row: Callable[[int], str], size: int, *, before: str = "", after: str = "") -> str:
    """Repeat a row until a document has this size."""
    rows, left, number = [before], size - len(before) - len(after), 0
    while len(text := row(number)) <= left:
        rows.append(text)
        left -= len(text)
        number += 1
    return "".join([*rows, after])


def good(size: int) -> str:
    """Write as many callers as a document of this size has room for."""
    return filled(
        lambda number: (
            f'[callers.caller-{number}]\nkey_sha256 = ["{number:064x}", "{number + MIB:064x}"]\n'
            'allow = [\n  { profile = "graph", scopes = ["api://a/.default", "api://b/.default"] },\n]\n'
        ),
        size,
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "a long name and many unknown keys": lambda size: filled(
        lambda number: f"u{number}=1\n", size, before=f"[callers.{'n' * 4_000}]\n"
    ),
    "a name that is half of the document": lambda size: f"[callers.{'n' * (size // 2)}]\n",
    "one dotted key": lambda size: "a." * (size // 2 - 2) + "a=1",
    "many dotted keys": lambda size: filled(lambda number: f"k{number}.a.b.c.d.e.f.g.h.i.j.k.l.m.n=1\n", size),
    "headers": lambda size: filled(lambda number: f"[a{number}]\n", size),
    "dotted headers": lambda size: filled(lambda number: f"[a{number}.b.c.d.e.f.g]\n", size),
    "inline tables": lambda size: filled(lambda _: "{a={b={}}},\n", size, before="a=[", after="]"),
    "deep lists": lambda size: "a=" + "[\n" * (size // 4) + "]" * (size // 4),
    "many mistakes": lambda size: filled(lambda number: f"callers.c{number}=1\n", size),
    "NULs": lambda size: "\0\n" * (size // 2),
    "one giant string": lambda size: 'a="""' + "x\n" * (size // 2 - 8) + '"""',
    "many callers": good,
    "many keys": lambda size: filled(lambda number: f"k{number}=1\n", size),
    "values of no table": lambda size: filled(lambda _: "7,\n", size, before="[callers.a]\nallow=[", after="]"),
}


def fitting(shape: Callable[[int], str]) -> str:
    """Make the largest document of a shape that is not refused before it is parsed."""
    low, high = 64, DOCUMENT_BYTES
    while high - low > 256:
        middle = (low + high) // 2
        try:
            parse_toml(shape(middle).encode(), name="callers.toml")
            low = middle
        except DocumentError:
            high = middle
    return shape(low)
