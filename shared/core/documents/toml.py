"""The text of a document -> its tables.

`tomllib` takes time and memory that grow faster than its text: 64 KiB of one dotted key took 4 GB. So a cheap look
comes first. It counts what is expensive, outside of strings and comments, and refuses a document with too much of it.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from shared.core.documents.content import DOCUMENT_BYTES

TABLES = 1_024
"""The most headers, such as `[callers.billing]`."""
KEYS = 8_192
"""The most keys. A dot counts as two more: it makes a table of its own, which is what `tomllib` pays most for."""
VALUES = 8_192
"""The most commas between the values of lists and inline tables."""
LINE = 4_096
"""The most characters of a line."""
DOTS = 16
"""The most dots of a line."""
DEPTH = 16
"""The most lists and inline tables within each other."""

TOLD = 8 * 1024
"""Bytes of JSON that mistakes may take in an event or in an answer."""
LONGEST_MISTAKE = 512

# Strings and comments (https://toml.io/en/v1.0.0#string). Every repetition is possessive, so that the time is linear.
# An opened string goes on to the end of its line, or of the document where it may have several lines.
_OPAQUE = re.compile(
    rb"""
      " (?: (?!"") (?: [^"\\\n]++ | \\[^\n] )*+ "?
          | ""     (?: [^"\\]++ | \\. | "(?!"") )*+ (?: "{3,5} | \\?\Z ) )
    | ' (?: (?!'') [^'\n]*+ '?
          | ''     (?: [^']++ | '(?!'') )*+ (?: '{3,5} | \Z ) )
    | \# [^\n]*+
    """,
    re.VERBOSE | re.DOTALL,
)
_AS_LISTS = bytes.maketrans(b"{}", b"[]")


class DocumentError(Exception):
    """A document cannot be used.

    Args:
        mistakes: each by its dotted key, or the one place where the text is no TOML.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def first_of(mistakes: Sequence[str]) -> list[str]:
    """Return the first mistakes, as many as an event or an answer has room for, and the number of the others."""
    room, kept = TOLD, 0
    for mistake in mistakes:
        room -= len(json.dumps(mistake[:LONGEST_MISTAKE]))
        if room < 0:
            break
        kept += 1
    left = len(mistakes) - kept
    return [*(mistake[:LONGEST_MISTAKE] for mistake in mistakes[:kept]), *([f"and {left} more"] if left else [])]


def parse_toml(text: bytes, *, name: str) -> dict[str, Any]:
    """Return the tables of a document.

    Args:
        text: the document.
        name: of the document, for mistakes that have no place in it.

    Raises:
        DocumentError: it is no TOML, or has too much of something. The place alone is named, never the text that
            stands there.
    """
    try:
        content = text.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError:
        raise DocumentError([f"{name}: is not UTF-8 text"]) from None
    if excess := _excess(text, content):
        raise DocumentError([f"{name}: {excess}"])
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (.+)\)\Z", str(error))
        raise DocumentError([f"{name}: is not valid TOML at {place[1] if place else 'some place'}"]) from None


def _excess(text: bytes, content: str) -> str:
    """Return what a document has too much of; "" where `tomllib` may read it."""
    if len(text) > DOCUMENT_BYTES:
        return f"is larger than {DOCUMENT_BYTES // 1024} KiB"
    if _has_longer_line(content):
        return f"has a line of more than {LINE:,} characters"
    # What is left is as if every string were one quotation mark; a quoted part of a dotted key keeps its dots.
    bare = _OPAQUE.sub(b'"', text).translate(None, b" \t\r")
    if (b"\n" + bare).count(b"\n[") > TABLES:
        return f"has more than {TABLES:,} tables"
    if bare.count(b"=") + 2 * bare.count(b".") > KEYS:
        return f"has more than {KEYS:,} keys, where each dot adds two"
    if bare.count(b",") > VALUES:
        return f"has more than {VALUES:,} values in lists"
    if b"." * (DOTS + 1) in _only(b".\n", bare):
        return f"has a line with more than {DOTS} dots outside of strings"
    brackets = _only(b"[]", bare.translate(_AS_LISTS))
    for _ in range(DEPTH):
        brackets = brackets.replace(b"[]", b"")
    # Of those that do not end `tomllib` names the place, unless they are many.
    if b"[]" in brackets or brackets.count(b"[") > DEPTH:
        return f"has lists or tables within each other, more than {DEPTH} deep"
    return ""


def _has_longer_line(content: str) -> bool:
    start = 0
    while len(content) - start > LINE:
        end = content.rfind("\n", start, start + LINE + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _only(kept: bytes, text: bytes) -> bytes:
    return text.translate(None, bytes(set(range(256)) - set(kept)))
