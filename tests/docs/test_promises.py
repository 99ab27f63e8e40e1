"""docs/promises.md: one line for each requirement that a test names."""

import re

from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()
ID = r"(?:ABU|DIR|FND|INF|REL|SEC)-[A-Z]?\d+"


def in_order(requirement: str) -> tuple[str, str, int]:
    """Return what an id is sorted by: its group, its part, its number."""
    group, part, number = re.fullmatch(r"(\w+)-([A-Z]?)(\d+)", requirement).groups()  # type: ignore[union-attr]
    return group, part, int(number)


def test_each_requirement_that_a_test_names_is_promised() -> None:
    """Once, in the order of the ids; and no promise stands there that no test names."""
    sources = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("tests/data/*.toml")]
    named = {found for source in sources for found in re.findall(rf"\b{ID}\b", source.read_text())}
    assert re.findall(rf"^- \*\*({ID})\*\* ", PAGE, re.MULTILINE) == sorted(named, key=in_order)
