"""Text as databases take it: Unicode without NUL and without half a character."""

import re

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Return a text without NUL, and with U+FFFD in place of half a character."""
    return _HALF_A_PAIR.sub("\ufffd", text.replace("\0", ""))
