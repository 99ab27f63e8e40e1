"""Forms and query strings, read strictly.

Python's own parsers are lenient where OAuth is not: they let broken escapes, broken UTF-8 and repeated fields through.
This one reads exactly what RFC 6749 appendix B and the URL standard's form encoding allow.
"""

import re
from binascii import a2b_qp
from typing import NamedTuple

from shared.core.errors import InvalidRequest

FIELD_LIMIT = 8 * 1024
FIELDS = 32
CREDENTIAL_NAME_LIMIT = 32
"""Bytes, still escaped: the names that are looked at before the caller is known."""
CREDENTIAL_LIMIT = 512
"""Bytes, still escaped: the names and keys of callers that are decoded before the caller is known."""

_CLEAN = re.compile(rb"(?:[^%]++|(?:%[0-9A-Fa-f]{2})++)*+\Z")


def _spelling(name: str) -> str:
    """Return a pattern for a name of which each character may be escaped."""
    return "".join(f"(?:{sign}|%(?i:{ord(sign):02x}))" for sign in name)


_CREDENTIAL = re.compile(
    rf"(?>client_|{_spelling('client_')})(?:(?P<id>{_spelling('id')})|(?P<secret>{_spelling('secret')})"
    rf"|(?P<assertion>{_spelling('assertion')}))(?:=|(?=&))".encode()
)


def read_form(form: bytes, *, of: str = "form") -> dict[str, str]:
    """Return the fields of a form; an empty value counts as not sent (RFC 6749 section 3.2).

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


class ClientFields(NamedTuple):
    """The credentials in a form, still escaped; empty where there are none."""

    id: bytes
    secret: bytes
    assertion: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"


def client_of(form: bytes) -> ClientFields:
    """Return the first `client_id`, `client_secret` and `client_assertion` of a form that may be malformed otherwise.

    Where the first two were found, the third is not looked for.

    This runs before the caller is known, so its work is bounded whatever is sent. It looks at the first `FIELDS` fields
    and at names up to `CREDENTIAL_NAME_LIMIT`, and decodes nothing.
    """
    first: dict[str | None, bytes] = {}
    form, begin = form + b"&", 0
    for _ in range(FIELDS):
        # Where it stands: to cut out each field costs more than to look at it.
        found, end = _CREDENTIAL.match(form, begin), form.find(b"&", begin)
        if end < 0:
            break
        if found and found.lastgroup not in first and found.end(found.lastgroup or "") - begin <= CREDENTIAL_NAME_LIMIT:
            first[found.lastgroup] = form[found.end() : end]
            if "id" in first and "secret" in first:
                break  # with a secret an assertion does not count
        begin = end + 1
    return ClientFields(*(first.get(name, b"") for name in ClientFields._fields))


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
    if not text.isascii() or not _CLEAN.match(text):
        raise InvalidRequest(f"the {of} has a broken escape", hint="percent-encode the values")


def _decoded(piece: bytes, of: str) -> str:
    if len(piece) > FIELD_LIMIT:
        raise InvalidRequest(f"a field of the {of} is larger than 8 KiB")
    spaced = piece.replace(b"+", b" ")
    if b"%" not in spaced:
        return spaced.decode()
    try:
        return _unescaped(spaced).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"the {of} is not UTF-8") from None


def _unescaped(escaped: bytes) -> bytes:
    """Decode escapes that are clean.

    `urllib.parse` takes Python steps for each escape, and strangers can send many. Quoted-printable (RFC 2045 section
    6.7) has the same escapes behind another sign, and is decoded in C.
    """
    return a2b_qp(escaped.replace(b"=", b"=3D").replace(b"%", b"="))
