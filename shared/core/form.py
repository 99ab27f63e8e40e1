"""Forms and query strings, read strictly.

Python's own parsers are lenient where OAuth is not: they let broken escapes, broken UTF-8 and repeated fields through.
This one reads exactly what RFC 6749 appendix B and the URL standard's form encoding allow.
"""

import re
from urllib.parse import unquote_to_bytes

from shared.core.errors import InvalidRequest

FIELD_LIMIT = 8 * 1024
FIELDS = 32
CREDENTIAL_NAME_LIMIT = 32
"""Bytes, still escaped: the names that are looked at before the caller is known."""
CREDENTIAL_LIMIT = 512
"""Bytes, still escaped: the names and keys of callers that are decoded before the caller is known."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _spellings(name: str) -> re.Pattern[bytes]:
    """Return a pattern for a name of which each character may be escaped."""
    return re.compile(rf"{''.join(f'(?:{sign}|%(?i:{ord(sign):02x}))' for sign in name)}\Z".encode())


_CLIENT_ID, _CLIENT_SECRET = _spellings("client_id"), _spellings("client_secret")


def read_form(form: bytes, *, of: str = "form") -> dict[str, str]:
    """Split a form into its fields; an empty value counts as not sent (RFC 6749 section 3.2).

    Args:
        form: of a body, or of a URL.
        of: what errors call it.

    Raises:
        InvalidRequest: it is too large, repeats a field, or is not clean UTF-8 in clean escapes.
    """
    if not form:
        return {}
    # No escape reaches over a separator, so that one look at the whole is one at every piece.
    _check_escapes(form, of)
    parts = form.split(b"&")
    if len(parts) > FIELDS:
        raise InvalidRequest(f"the {of} has more than {FIELDS} fields")
    fields: dict[str, str] = {}
    for part in parts:
        if not part:
            continue  # `&&`, and `&` at the end: scripts write them, and the URL standard skips them
        escaped, _, value = part.partition(b"=")
        name = _decoded(escaped, of)
        if not name:
            raise InvalidRequest(f"a field of the {of} has no name", hint="write each field as name=value")
        if name in fields:
            raise InvalidRequest(f"a field of the {of} is repeated", hint="send each field once")
        fields[name] = _decoded(value, of)
    return {name: value for name, value in fields.items() if value}


def client_of(form: bytes) -> tuple[bytes, bytes]:
    """Find the first `client_id` and the first `client_secret` of a form that may be malformed otherwise.

    This runs before the caller is known, so its work is bounded whatever is sent: it looks at the first `FIELDS` fields
    and at names up to `CREDENTIAL_NAME_LIMIT`, and decodes nothing.

    Returns:
        Both values, still escaped; empty where there is none.
    """
    client_id = client_secret = None
    for field in form.split(b"&", FIELDS)[:FIELDS]:
        name, _, value = field.partition(b"=")
        if len(name) > CREDENTIAL_NAME_LIMIT:
            continue
        if client_id is None and _CLIENT_ID.match(name):
            client_id = value
        elif client_secret is None and _CLIENT_SECRET.match(name):
            client_secret = value
    return client_id or b"", client_secret or b""


def read_credential(escaped: bytes) -> str:
    """Decode the name or the key of a caller (RFC 6749 section 2.3.1).

    Raises:
        InvalidRequest: it is longer than `CREDENTIAL_LIMIT`, or not clean UTF-8 in clean escapes.
    """
    if len(escaped) > CREDENTIAL_LIMIT:
        raise InvalidRequest(f"a credential is larger than {CREDENTIAL_LIMIT} bytes")
    _check_escapes(escaped, "value")
    return _decoded(escaped, "value")


def _check_escapes(text: bytes, of: str) -> None:
    if not text.isascii() or _BROKEN_ESCAPE.search(text):
        raise InvalidRequest(f"the {of} has a broken escape", hint="percent-encode the values")


def _decoded(piece: bytes, of: str) -> str:
    if len(piece) > FIELD_LIMIT:
        raise InvalidRequest(f"a field of the {of} is larger than 8 KiB")
    spaced = piece.replace(b"+", b" ")
    if b"%" not in spaced:
        return spaced.decode()
    try:
        return unquote_to_bytes(spaced).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"the {of} is not UTF-8") from None
