"""The pages are in plain English: their sentences are short."""

from dataclasses import dataclass

import pytest

from tests.docs.sentences import Sentence, sentences
from tests.docs.test_docs import ROOT
from tests.tables import case_id, cases

MOST_WORDS = 30
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))


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
    """No sentence of a page is longer."""
    found = [sentence for sentence in sentences((ROOT / page).read_text()) if sentence.words > MOST_WORDS]
    listed = "".join(f"\n{page}:{each.line}: {each.words} words: {each.text}" for each in found)
    assert found == [], f"{len(found)} sentences have more than {MOST_WORDS} words:{listed}"
