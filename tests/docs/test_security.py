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
    r"^\| ([^|]+) \| `(\w+)` (\d+)[^|]* \| `((?:shared|cli)/[^`]+)\.py` \| `([^`:]+)::(\w+)` \|$", PAGE, re.MULTILINE
)
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


@pytest.mark.parametrize(("file", "test"), sorted({row[4:] for row in BOUNDS}))
def test_a_proof_exists(file: str, test: str) -> None:
    """The test that the page names is there."""
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
