"""The text of a document -> its tables."""

import re
import tomllib
from typing import Any


class DocumentError(Exception):
    """A document cannot be used.

    Args:
        mistakes: each by its dotted key, or the one place where the text is no TOML.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def parse_toml(text: bytes, *, name: str) -> dict[str, Any]:
    """Return the tables of a document.

    Args:
        text: the document.
        name: of the document, for mistakes that have no place in it.

    Raises:
        DocumentError: it is no TOML. The place alone is named, never the text that stands there.
    """
    try:
        return tomllib.loads(text.decode("utf-8-sig"))  # some editors begin a file with a byte order mark
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (.+)\)\Z", str(error))
        raise DocumentError([f"{name}: is not valid TOML at {place[1] if place else 'some place'}"]) from None
    except (ValueError, RecursionError):
        raise DocumentError([f"{name}: is not UTF-8 text of a sensible depth"]) from None
