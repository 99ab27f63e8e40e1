"""The trace that a caller is in: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header."""

import re
from collections.abc import Mapping

LENGTH = 55
"""Characters of a `traceparent` of version 00."""

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


def trace_parent(headers: Mapping[str, str]) -> str | None:
    """Return the `traceparent` of a request; None where it has none, or one that the specification tells to ignore."""
    given = headers.get("traceparent", "")
    return given if len(given) == LENGTH and _PARENT.match(given) else None
