"""Every link to a heading of a document finds it."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from tests.docs.test_docs import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings: lower case, without punctuation, a hyphen for each space."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=attrgetter("name"))
def test_every_anchor_is_a_heading(document: Path) -> None:
    """In the same document or in another one."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", document.read_text())
    broken = [
        f"{target}#{anchor}"
        for target, anchor in links
        if anchor not in anchors(document.parent / target if target else document)
    ]
    assert broken == []
