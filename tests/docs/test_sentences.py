"""README.md and docs/ are in plain English: their sentences are short."""

from dataclasses import dataclass

import pytest

from tests.docs.sentences import Sentence, sentences
from tests.docs.test_docs import ROOT
from tests.tables import case_id, cases

MOST_WORDS = 30
# How many longer sentences a file may have. These numbers only sink; a file that is not listed has none.
CEILINGS = {
    "docs/architecture.md": 13,
    "docs/local.md": 2,
    "docs/operations.md": 2,
}
PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A document; tests/data/sentences.toml describes the fields."""

    id: str
    markdown: str
    sentences: tuple[tuple[int, str], ...]


@pytest.mark.parametrize("case", cases("sentences.toml", Case), ids=case_id)
def test_sentences_are_found(case: Case) -> None:
    """Each sentence is found once, with its line."""
    assert list(sentences(case.markdown)) == [Sentence(line, text) for line, text in case.sentences]


def test_words_are_counted() -> None:
    """A code span is one word, and a dash is none."""
    (found,) = sentences("Run `./vend token billing` - or well-known curl.")
    assert found.words == 5


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short(page: str) -> None:
    """No file has more long sentences than its ceiling, and no ceiling is higher than it must be."""
    found = [sentence for sentence in sentences((ROOT / page).read_text()) if sentence.words > MOST_WORDS]
    listed = "".join(f"\n{page}:{each.line}: {each.words} words: {each.text}" for each in found)
    ceiling = CEILINGS.get(page, 0)
    assert len(found) <= ceiling, f"{len(found)} sentences have more than {MOST_WORDS} words, not {ceiling}:{listed}"
    assert len(found) == ceiling, f"lower the ceiling of {page} in tests/docs/test_sentences.py to {len(found)}"


def test_each_ceiling_is_that_of_a_page() -> None:
    """No ceiling stays behind when its page goes."""
    assert CEILINGS.keys() <= set(PAGES)
