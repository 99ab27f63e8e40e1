"""Certificates and secrets of applications: what is stored of them.

Neither the key nor the text of a secret, nor its hint, is ever read from an answer.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.core.directory.text import storable
from shared.core.names import is_guid

_HEX = re.compile(r"(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})\Z")
_DIGESTS = {20, 32}
"""The lengths of SHA-1 and SHA-256, in bytes."""


class CredentialKind(StrEnum):
    """By what an application proves itself to Entra."""

    KEY = "key"
    """A certificate."""
    SECRET = "secret"


@dataclass(frozen=True, slots=True)
class Credential:
    """The stored facts of a certificate or a secret.

    Args:
        name: its name in Entra.
        thumbprint: of a certificate, in capital hexadecimal digits as in the portal of Entra; None of a secret.
        starts_at: from when it is good, in seconds since the epoch.
        ends_at: until when it is good, in seconds since the epoch; it may be in the year 9999.
    """

    name: str | None
    thumbprint: str | None
    starts_at: float | None
    ends_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A credential whose end is to be told.

    Args:
        number: the number of its object in the store.
        object_id: the id of its object.
        kind: what it is.
        key_id: its id.
        ends_at: in seconds since the epoch.
        days: within how many days that is: one of `NOTICE_DAYS`.
    """

    number: int
    object_id: str
    kind: CredentialKind
    key_id: str
    ends_at: float
    days: int


def read_credentials(given: Any, kind: CredentialKind) -> tuple[Mapping[str, Credential] | None, int]:  # noqa: ANN401  # any JSON value
    """Return the credentials that a property holds.

    Returns:
        By key id in lower case, all credentials; None if the property holds no list, so that they are not known.
        And how many values are not stored, or in another form than they came.
    """
    if given is None:
        return {}, 0
    if not isinstance(given, list):
        return None, 1
    found, mended = dict[str, Credential](), 0
    for item in given:
        key_id = item.get("keyId") if isinstance(item, dict) else None
        if not isinstance(key_id, str) or not is_guid(key_id):
            mended += 1
            continue
        mark = item.get("customKeyIdentifier") if kind is CredentialKind.KEY else None
        name, starts, ends = (item.get(key) for key in ("displayName", "startDateTime", "endDateTime"))
        read = Credential(_text(name), _thumbprint(mark), _instant(starts), _instant(ends))
        found[key_id.lower()] = read
        mended += (read.name != name) + (mark is not None and read.thumbprint is None)
        mended += (starts is not None and read.starts_at is None) + (ends is not None and read.ends_at is None)
    return found, mended


def _text(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    return storable(value) if isinstance(value, str) else None


def _thumbprint(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """Return the digits of a thumbprint, which Graph writes in hexadecimal or base64; any other mark as it is."""
    if not isinstance(value, str):
        return None
    if _HEX.match(value):
        return value.upper()
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return storable(value)
    return digest.hex().upper() if len(digest) in _DIGESTS else storable(value)


def _instant(value: Any) -> float | None:  # noqa: ANN401  # any JSON value
    """Return an instant in whole seconds, in UTC unless it has an offset; None of what is none."""
    try:
        read = datetime.fromisoformat(value).replace(microsecond=0)
        return (read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
