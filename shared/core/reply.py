"""An HTTP answer of an upstream service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that was read whole, and within its bound.

    Args:
        status: the status code.
        body: the bytes as they came; they may hold a token.
        headers: values by their names in lower case.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body holds, or None; a JSONDecodeError would carry all of the text."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
