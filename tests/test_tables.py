"""A mistake in a table of cases is an error that names file, case and key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tables import TableError, cases

GOOD = """
[[case]]
id = "one"
says = "hello"
parts = [{ name = "a", seconds = 1 }]
headers = { etag = "0x1" }

[[case]]
id = "two"
says = "hello"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table within a case."""

    name: str
    seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case with a value of each kind."""

    id: str
    says: str
    status: int = 200
    parts: tuple[Part, ...] = ()
    headers: Mapping[str, str] | None = None


def read(folder: Path, text: str) -> list[Case]:
    """Read a file that holds a text."""
    (folder / "table.toml").write_text(text)
    return cases(str(folder / "table.toml"), Case)


def test_a_case_is_an_instance_of_its_shape(tmp_path: Path) -> None:
    """What is left out has its default, and a whole number is a number too."""
    assert read(tmp_path, GOOD) == [
        Case(id="one", says="hello", parts=(Part(name="a", seconds=1.0),), headers={"etag": "0x1"}),
        Case(id="two", says="hello"),
    ]


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("headers =", "hedaers =", "case 'one': hedaers: Unexpected keyword argument"),
        ("seconds =", "secs =", "case 'one': parts.0.secs: Unexpected keyword argument"),
        ('says = "hello"\nparts', "parts", "case 'one': says: Field required"),
        ('name = "a", ', "", "case 'one': parts.0.name: Field required"),
        ('id = "one"\n', "", "case None: id: Field required"),
        ('"hello"\nparts', "5\nparts", "case 'one': says: Input should be a valid string"),
        ("seconds = 1", 'seconds = "1"', "case 'one': parts.0.seconds: Input should be a valid number"),
        ('"0x1"', "1", "case 'one': headers.etag: Input should be a valid string"),
        ('id = "two"', 'id = "two"\nstatus = true', "case 'two': status: Input should be a valid integer"),
        ('id = "two"', 'id = "two"\nparts = "a"', "case 'two': parts: Input should be a valid array"),
        ('id = "two"', 'id = "one"', "case 'one': another case has this id"),
        ('[[case]]\nid = "two"', '[[caes]]\nid = "two"', "must hold ['case'], and holds ['caes', 'case']"),
        ("\n[[case]]", "x = 1\n[[case]]", "must hold ['case'], and holds ['case', 'x']"),
    ],
    ids=[
        "typo in a key", "typo in a key below", "missing key", "missing key below", "missing id", "type", "type below",
        "type in a mapping", "true is no number", "a text is no list", "duplicate id", "unknown table", "unknown key",
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_place(tmp_path: Path, good: str, bad: str, message: str) -> None:
    """Each mistake is the only one that is told."""
    assert good in GOOD
    with pytest.raises(TableError) as caught:
        read(tmp_path, GOOD.replace(good, bad, 1))
    assert str(caught.value) == f"{tmp_path}/table.toml: {message}"


def test_all_mistakes_of_a_table_are_told(tmp_path: Path) -> None:
    """One line for each, in the order of the file."""
    with pytest.raises(TableError) as caught:
        read(tmp_path, GOOD.replace("says", "syas"))
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        "case 'one': says: Field required",
        "case 'one': syas: Unexpected keyword argument",
        "case 'two': says: Field required",
        "case 'two': syas: Unexpected keyword argument",
    ]
