"""The names that requests and documents use: GUIDs, digests, and the scopes of client credentials.

The patterns are without anchors, and mean the same to Python and to JSON Schema.
"""

import re

GUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
"""Pattern of a GUID in either case (RFC 9562 section 4)."""
SHA256 = "[0-9a-f]{64}"
"""Pattern of a SHA-256 in lower-case hex digits."""
SCOPE_TOKEN = r"[\x21\x23-\x5b\x5d-\x7e]+"
"""Pattern of a scope of any kind: visible ASCII without the quote and the backslash (RFC 6749 section 3.3)."""
DEFAULT_SUFFIX = "/.default"
"""The suffix of a resource in a scope of client credentials.

https://learn.microsoft.com/entra/identity-platform/scopes-oidc#the-default-scope
"""
SCOPE_LIMIT = 1_024
"""Characters of a scope; the limit is vend's own."""

_GUID = re.compile(rf"{GUID}\Z")
_SHA256 = re.compile(rf"{SHA256}\Z")
_SCOPE = re.compile(rf"{SCOPE_TOKEN}{re.escape(DEFAULT_SUFFIX)}\Z")


def is_guid(text: str) -> bool:
    """Return whether a tenant or client ID is a GUID: nothing else is ever put into a URL."""
    return _GUID.match(text) is not None


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in lower-case hex digits."""
    return _SHA256.match(text) is not None


def is_default_scope(text: str) -> bool:
    """Return whether a scope is exactly one `resource/.default`, all that client credentials can ask for."""
    return len(text) <= SCOPE_LIMIT and _SCOPE.match(text) is not None
