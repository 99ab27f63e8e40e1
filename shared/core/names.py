"""The names that requests and documents use: GUIDs, and the scopes of client credentials."""

import re

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
# Visible ASCII without the quote and the backslash: the scope-token of RFC 6749 section 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+/\.default\Z")
_SCOPE_LENGTH = 1_024


def is_guid(text: str) -> bool:
    """Return whether a tenant or client id is a GUID: nothing else is ever put into a URL."""
    return _GUID.match(text) is not None


def is_default_scope(text: str) -> bool:
    """Return whether a scope is exactly one `resource/.default`, all that client credentials can ask for."""
    return len(text) <= _SCOPE_LENGTH and _SCOPE.match(text) is not None
