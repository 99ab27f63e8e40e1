"""Finds the sentences of a Markdown document, without its headings, tables, code and HTML."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark").enable("table")
# A mark ends a sentence only before a space: not in 3.13, x.y or "...".
_END = re.compile(r"""[^\s.][.!?][)\]"']*\s+""")
_ABBREVIATIONS = ("cf.", "e.g.", "i.e.", "vs.")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, with an inline code span as one word, and the line where it begins."""

    line: int
    text: str

    @property
    def words(self) -> int:
        """Count the words; a dash between two spaces is none."""
        return sum(any(map(str.isalnum, word)) for word in self.text.split())


def sentences(document: str) -> Iterator[Sentence]:
    """Find each sentence of the paragraphs; a paragraph may be that of a list item or of a quotation."""
    before: Token | None = None
    for token in _MARKDOWN.parse(document):
        if before and before.type == "paragraph_open" and before.map:
            yield from _split(_plain(token), line=before.map[0] + 1)
        before = token


def _plain(paragraph: Token) -> str:
    return "".join(map(_words, paragraph.children or []))


def _words(part: Token) -> str:
    match part.type:
        case "text":
            return part.content
        case "code_inline":
            return f"`{'_'.join(part.content.split())}`"
        case "softbreak" | "hardbreak":
            return "\n"
        case _:  # marks of links and emphasis, images, HTML
            return ""


def _split(text: str, *, line: int) -> Iterator[Sentence]:
    start = 0
    for end in _END.finditer(f"{text}\n"):
        found = text[start : end.end()]
        if found.split()[-1].lstrip("([").endswith(_ABBREVIATIONS):
            continue
        yield Sentence(line + text.count("\n", 0, start), " ".join(found.split()))
        start = end.end()
    if rest := text[start:].split():
        yield Sentence(line + text.count("\n", 0, start), " ".join(rest))
