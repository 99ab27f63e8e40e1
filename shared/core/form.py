"""Forms and query strings, read strictly.

Python's own parsers are lenient where OAuth is not: they let broken escapes, broken UTF-8 and repeated fields through.
This one reads exactly what RFC 6749 appendix B and the URL standard's form encoding allow.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from shared.core.errors import InvalidRequest

FIELD_LIMIT = 8 * 1024
FIELDS = 32
CREDENTIAL_NAME_LIMIT = 32
"""Bytes, still escaped: the names that are decoded before the caller is known."""
CREDENTIAL_LIMIT = 512
"""Bytes, still escaped: the names and keys of callers that are decoded before the caller is known."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


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


def first_of(form: bytes, names: Collection[str]) -> dict[str, str]:
    """Find the first field of each name, in a form that may be malformed otherwise.

    This runs before the caller is known, so its work is bounded whatever is sent: it reads the first `FIELDS` fields,
    and decodes names up to `CREDENTIAL_NAME_LIMIT` and values up to `CREDENTIAL_LIMIT`.

    Raises:
        InvalidRequest: the value of such a field cannot be read.
    """
    found: dict[str, bytes] = {}
    for part in form.split(b"&", FIELDS)[:FIELDS]:
        escaped, _, value = part.partition(b"=")
        if len(escaped) > CREDENTIAL_NAME_LIMIT:
            continue
        name = unquote_to_bytes(escaped).decode(errors="replace")
        if name in names:
            found.setdefault(name, value)
    return {name: text for name, value in found.items() if (text := read_credential(value))}


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
