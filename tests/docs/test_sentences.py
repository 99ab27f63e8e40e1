"""Pages, docstrings and comments are in plain English: their sentences are short."""

import ast
import inspect
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

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


SOURCES = ("benchmarks", "cli", "emulator", "scripts", "shared", "tests")


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Find each string that is a statement, with the line where it begins."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Expr(ast.Constant(value=str(text))):
                yield node.lineno, inspect.cleandoc(text)


def comments(file: Path) -> Iterator[tuple[int, str]]:
    """Find each comment; lines of comments below each other are one."""
    with tokenize.open(file) as source:
        found = [token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.COMMENT]
    block = 0
    blocks = [(0, token) for token in found[:1]]
    for before, token in pairwise(found):
        below = token.start == (before.start[0] + 1, before.start[1]) and token.line.lstrip().startswith("#")
        block += not below
        blocks.append((block, token))
    for _, group in groupby(blocks, key=lambda each: each[0]):
        tokens = [token for _, token in group]
        yield tokens[0].start[0], "\n".join(token.string.lstrip("# ") for token in tokens)


@pytest.mark.parametrize("folder", SOURCES)
def test_sentences_of_sources_are_short(folder: str) -> None:
    """No sentence of a docstring or a comment is longer; what is indented further, such as a table, is none."""
    found = [
        f"{file.relative_to(ROOT)}:{line + sentence.line - 1}: {sentence.words} words: {sentence.text}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, text in (*docstrings(file), *comments(file))
        for sentence in sentences(text)
        if sentence.words > MOST_WORDS
    ]
    assert found == [], "\n".join(found)
