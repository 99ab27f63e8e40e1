"""FND-B1, FND-B2, SEC-30: what a document costs before anybody knows whether it is good."""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.documents.callers import parse_callers
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.toml import (
    DEPTH,
    DOTS,
    KEYS,
    LINE,
    TABLES,
    TOLD,
    VALUES,
    DocumentError,
    first_of,
    parse_toml,
)
from tests.core.documents.shapes import MIB, SHAPES, fitting, good
from tests.core.test_policy import OFFERS

PEAK = 20_000_000
"""Bytes that reading a document may take."""


def peak(text: str) -> int:
    """Measure how many bytes are taken at once to read a document, whatever becomes of it."""
    encoded = text.encode()
    tracemalloc.start()
    with suppress(DocumentError):
        parse_callers(encoded, OFFERS, name="callers.toml")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.fixture(scope="module")
def largest_good() -> int:
    """Measure what the largest good document costs."""
    return peak(good(DOCUMENT_BYTES))


@pytest.mark.parametrize(
    "size", ["1 MiB", *(pytest.param(size, marks=pytest.mark.slow) for size in ("256 KiB", "as much as is parsed"))]
)
@pytest.mark.parametrize("name", SHAPES)
def test_no_document_costs_much(name: str, size: str, largest_good: int) -> None:
    """FND-B1, FND-B2, SEC-30: whatever it holds, it takes little more memory than as many good callers as fit."""
    shape = SHAPES[name]
    text = fitting(shape) if size.startswith("as") else shape(MIB if size == "1 MiB" else DOCUMENT_BYTES)
    assert peak(text) <= min(PEAK, 1.5 * largest_good)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A document at a bound, and one beyond it."""

    text: Callable[[int], str]
    most: int
    says: str


LIST = "a = [\n{}\n]"
BOUNDS = {
    "size": Bound(text=lambda size: "#\n" * (size // 2) + "#" * (size % 2), most=DOCUMENT_BYTES, says="256 KiB"),
    "line": Bound(
        text=lambda length: "a = 1\n#" + "x" * (length - 1) + "\nb = 1", most=LINE, says="a line of more than"
    ),
    "line behind an empty one": Bound(text=lambda length: "\n#" + "x" * (length - 1), most=LINE, says="a line of"),
    "line of characters, not of bytes": Bound(
        text=lambda length: "#" + "é" * (length - 1), most=LINE, says="a line of"
    ),
    "tables": Bound(text=lambda count: "".join(f" [a{n}]\n" for n in range(count)), most=TABLES, says="1,024 tables"),
    "keys": Bound(text=lambda count: "".join(f"a{n} = 1\n" for n in range(count)), most=KEYS, says="8,192 keys"),
    "dotted keys": Bound(
        text=lambda count: "".join(f"a{n}.b = 1\n" for n in range(count)), most=KEYS // 3, says="8,192 keys"
    ),
    "values": Bound(text=lambda count: LIST.format("1,\n" * count), most=VALUES, says="8,192 values"),
    "dots": Bound(text=lambda count: "a" + ".a" * count + " = 1", most=DOTS, says="16 dots"),
    "dots of quoted keys": Bound(text=lambda count: '"a.b"' + " . 'a.b'" * count + " = 1", most=DOTS, says="16 dots"),
    "depth": Bound(text=lambda depth: "a = " + "[" * depth + "]" * depth, most=DEPTH, says="16 deep"),
    "depth of tables and lists over lines, with brackets in strings": Bound(
        text=lambda depth: "a = " + "[ '}', ']', # ]\n" * (depth - 1) + "{ a = 1 }" + "]" * (depth - 1),
        most=DEPTH,
        says="16 deep",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_exact_and_told_as_one_mistake(name: str) -> None:
    """SEC-30: what is at the bound is parsed, and one more of it is refused in one clear sentence."""
    bound = BOUNDS[name]
    assert is_parsed(bound.text(bound.most))
    with pytest.raises(DocumentError) as caught:
        parse_toml(bound.text(bound.most + 1).encode(), name="callers.toml")
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("callers.toml: ")
    assert bound.says in mistake


@pytest.mark.parametrize(("depth", "says"), [(DEPTH, "is not valid TOML at end of document"), (DEPTH + 1, "16 deep")])
def test_lists_that_do_not_end_have_a_depth_too(depth: int, says: str) -> None:
    """SEC-30: a few are no TOML, and the place is named; many would be nested first."""
    with pytest.raises(DocumentError, match=says):
        parse_toml(("a = " + "[" * depth).encode(), name="callers.toml")


def is_parsed(text: str) -> bool:
    """Return whether a text comes as far as to `tomllib`, which takes it."""
    return isinstance(parse_toml(text.encode(), name="callers.toml"), dict)


SCOPES = ", ".join(f'"https://service-{number}.some.example.com/.default"' for number in range(6))
LEGITIMATE = {
    "a line of six scopes": f'allow = [{{ profile = "graph", scopes = [{SCOPES}] }}]',
    "dots in a comment": "a = 1 # " + "." * 100,
    "brackets in strings of several lines": "a = '''\n" + "[" * 20 + '\n\'\'\'\nb = """\\"""' + "[" * 20 + '\n"""',
    "brackets in strings": "a = [\n" + '\'[\', "\\"[", # [\n' * 20 + "]",
    "quotes at the end of a string of several lines": 'a = """x"""""\nb = \'\'\'x\'\'\'\'\'\nc = [".", "."]',
    "empty strings": "a = ['', \"\", '''''', \"\"\"\"\"\"]\n" + "\n".join(f"b{n} = '.'" for n in range(20)),
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_strings_and_comments_are_not_counted(name: str) -> None:
    """SEC-30: a bound is on what makes tables, keys and values."""
    assert is_parsed(LEGITIMATE[name])


PIECES = ['"', "'", '"""', "'''", "\\", "#", "\n", "a", "=", ".", "[", "]", "{", "}", ",", " ", "é"]


@given(text=st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example(text="a = '''" + "." * 17)
@example(text='a="""\\')
def test_any_text_is_parsed_or_has_a_mistake(text: str) -> None:
    """SEC-30: no string that does not end, and no escape, makes anything but a mistake."""
    with suppress(DocumentError):
        assert is_parsed(text)


@given(strings=st.lists(st.text(st.sampled_from("a'\"\\\n\t.#[]{}=,"), max_size=8), min_size=1, max_size=4))
def test_what_stands_in_a_string_is_never_counted(strings: list[str]) -> None:
    """SEC-30: however a string is quoted, its dots are no dots of a key."""
    text = "a = [" + ", ".join(json.dumps(string * 20) for string in strings) + "]"
    made: Any = parse_toml(text.encode(), name="callers.toml")
    assert made["a"] == [string * 20 for string in strings]


def test_mistakes_that_are_told_have_a_size() -> None:
    """FND-B3: the first ones, each cut, and the number of the others; few are told as they are."""
    assert first_of(["a: b", "c: d"]) == ["a: b", "c: d"]
    full = ["x" * 510] * (TOLD // 512)  # each with its quotation marks
    assert first_of(full) == full
    assert first_of([*full, "x"]) == [*full, "and 1 more"]
    told = first_of([f"{number}: {'é' * 600}" for number in range(900)])
    assert len(json.dumps(told)) <= TOLD + 100
    assert told[0].startswith("0: é")
    assert len(told[0]) == 512
    assert told[-1] == f"and {900 - len(told) + 1} more"
