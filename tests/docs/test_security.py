"""docs/security.md says what the code does."""

import ast
import importlib
import re
from dataclasses import fields

import pytest

from shared.core.limits import Limits
from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
BOUNDS = re.findall(
    r"^\| ([^|]+) \| `(\w+)` (\d+)[^|]* \| `(shared/[^`]+)\.py` \| `([^`:]+)::(\w+)` \|$", PAGE, re.MULTILINE
)
THREATS = re.findall(r"^\| (SEC-\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
PROOF = re.compile(r"`([^`:]+)::(\w+)`")
NO_PROOF = "no test: "
KNOBS = {knob.name: knob.default for knob in fields(Limits)}


def test_every_row_is_read() -> None:
    """No row escapes the tests below by its form."""
    table = PAGE.partition("| input | bound |")[2].partition("\n\n")[0]
    assert len(BOUNDS) == len(table.splitlines()) - 2 > 10


@pytest.mark.parametrize(("name", "number", "module"), [row[1:4] for row in BOUNDS], ids=[row[0] for row in BOUNDS])
def test_a_bound_is_that_of_the_code(name: str, number: str, module: str) -> None:
    """The number that the page names is the one that is checked."""
    code = importlib.import_module(module.replace("/", "."))
    assert (KNOBS[name] if name in KNOBS else getattr(code, name)) == int(number)


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


@pytest.mark.parametrize(("file", "test"), sorted(set(PROOF.findall(PAGE))))
def test_a_proof_exists(file: str, test: str) -> None:
    """The test that the page names is there."""
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
