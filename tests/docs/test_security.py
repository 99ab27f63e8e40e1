"""docs/security.md says what the code does."""

import ast
import importlib
import re
from dataclasses import fields

import pytest

from shared.core.limits import Limits
from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
SECTION = PAGE.partition("\n## Bounded before known\n")[2].partition("\n## ")[0]
HEAD = ["| what | at most | what happens with more | number | test |", "| --- | --- | --- | --- | --- |"]
BOUNDS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| `(\w+)` of `((?:shared|cli)/[^`]+)\.py` \| `([^`:]+)::(\w+)` \|$",
    SECTION,
    re.MULTILINE,
)
AT_MOST = re.compile(r"(?:one every )?([1-9]\d{0,2}(?:,\d{3})*)(?: (\w+)|\Z)")
UNITS = {"KiB": 1024, "MiB": 1024**2, "h": 3_600} | dict.fromkeys(
    (
        *("a", "bits", "bytes", "characters", "dots", "events", "fields", "headers", "keys", "levels", "pieces"),
        *("probes", "requests", "s", "tables", "times", "tokens", "values"),
    ),
    1,
)
THREATS = re.findall(r"^\| (SEC-\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
PROOF = re.compile(r"`([^`:]+)::(\w+)`")
NO_PROOF = "no test: "
MOST_WORDS = 45
KNOBS = {knob.name: knob.default for knob in fields(Limits)}


def test_every_row_is_read() -> None:
    """No row escapes the tests below by its form: each heading has one table, and each line of a table is read."""
    before, *parts = SECTION.split("\n### ")
    assert "|" not in before
    tables = [[line for line in part.splitlines() if "|" in line] for part in parts]
    assert [table[:2] for table in tables] == [HEAD] * len(parts)
    assert len(BOUNDS) == sum(len(table) - 2 for table in tables) > 10


def test_a_bound_stands_alone() -> None:
    """Two rows are about different things, and none is understood by another one."""
    whats = [row[0] for row in BOUNDS]
    assert len(set(whats)) == len(whats)
    assert [what for what in whats if re.search(r"\b(?:such|them|these|they|this|those)\b", what)] == []


@pytest.mark.parametrize(
    ("at_most", "name", "module"), [(row[1], *row[3:5]) for row in BOUNDS], ids=[row[0] for row in BOUNDS]
)
def test_a_bound_is_that_of_the_code(at_most: str, name: str, module: str) -> None:
    """The number that the page names, in whatever unit, is the one that is checked."""
    code = importlib.import_module(module.replace("/", "."))
    is_knob = module == "shared/core/limits" and name in KNOBS
    assert amount(at_most) == (KNOBS[name] if is_knob else getattr(code, name))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16 KiB", 16_384),
        ("1 MiB", 1_048_576),
        ("48 h", 172_800),
        ("1,374 characters", 1_374),
        ("2,147,483,648", 2_147_483_648),
        ("8 s", 8),
        ("60 a minute", 60),
        ("one every 60 s", 60),
        ("512 pieces, plus one per 32 bytes of the largest body", 512),
    ],
)
def test_a_number_is_read_with_its_unit(text: str, number: int) -> None:
    """As people write it."""
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "many", "at most 9 s", "16 kB", "16KiB", "1374 bytes", "1.5 h", "2 minutes"])
def test_what_is_no_number_is_not_read(text: str) -> None:
    """A unit that is not known here could change the number."""
    with pytest.raises(ValueError, match="no number"):
        amount(text)


def amount(text: str) -> int:
    """Return the number with which a cell begins, in bytes or seconds if its unit is one of several."""
    found = AT_MOST.match(text)
    if not found or (found[2] or "a") not in UNITS:
        raise ValueError(f"no number: {text}")
    return int(found[1].replace(",", "")) * UNITS[found[2] or "a"]


def test_every_threat_has_a_row() -> None:
    """SEC-01 to SEC-32 in their order, but for the cache that workers would share."""
    assert [row[0] for row in THREATS] == [f"SEC-{number:02}" for number in range(1, 33) if number != 28]


@pytest.mark.parametrize(("defence", "proof"), [row[2:] for row in THREATS], ids=[row[0] for row in THREATS])
def test_a_threat_has_a_proof_or_none_is_claimed(defence: str, proof: str) -> None:
    """A row names tests and nothing else; or it says that there is none, and that there is no defence."""
    if proof.startswith(NO_PROOF):
        assert defence.startswith("None")
        return
    assert ", ".join(match[0] for match in PROOF.finditer(proof)) == proof


def test_what_is_held_has_a_defence_or_the_word_none() -> None:
    """Each row says in so many words where there is no defence."""
    table = PAGE.partition("| holds | can become | defence |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]
    assert len(cells) > 10
    assert [row for row in cells if len(row) != 3 or not all(row)] == []


def test_a_cell_of_a_table_is_short() -> None:
    """What needs more words is a paragraph."""
    cells = [cell for line in PAGE.splitlines() if line.startswith("|") for cell in line.strip("|").split(" | ")]
    assert [cell for cell in cells if len(cell.split()) > MOST_WORDS] == []


@pytest.mark.parametrize(("file", "test"), sorted(set(PROOF.findall(PAGE))))
def test_a_proof_exists(file: str, test: str) -> None:
    """The test that the page names is there."""
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
