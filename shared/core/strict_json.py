"""JSON that two readers cannot understand differently (RFC 8259 section 4): no repeated name, no NaN, no Infinity."""

import json
from typing import Any, NoReturn


def read_strict(text: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    """Read JSON.

    Args:
        text: never bytes: of those, `json` would guess the encoding, and take UTF-16 and a byte order mark.

    Raises:
        ValueError: it is no JSON, repeats a name at any depth, or is nested too deep.
    """
    text = text.strip(_WHITE_SPACE)
    try:
        found, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if end != len(text):
        raise ValueError("more than one value")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of pairs, or raise: json would keep the last of two with one name and say nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_WHITE_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
"""`json.loads` would make one for each text, which takes longer than most texts."""
