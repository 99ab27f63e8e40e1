"""Base64, read strictly: what has a second spelling can be told apart where it should not be (RFC 4648 section 3.5)."""

import base64
import re
from binascii import a2b_base64, b2a_base64

# One of the two alphabets; both in one text are none.
_STANDARD = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]+={0,2}\Z")
# What belongs to the standard alphabet alone becomes a character of none.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/...")


def from_base64(text: str) -> bytes:
    """Decode standard base64 in the one spelling that an encoder gives it.

    Raises:
        ValueError: it is spelled otherwise: without padding, with white space, with bits behind the last byte.
    """
    decoded = base64.b64decode(text)
    if base64.b64encode(decoded).decode() != text:
        raise ValueError("not as an encoder writes it")
    return decoded


def is_any_base64(text: str) -> bool:
    """Return whether a text may be base64, in either alphabet."""
    return bool(_STANDARD.match(text) or _URL_SAFE.match(text))


def from_any_base64(text: str) -> bytes:
    """Decode base64 in either alphabet, with its padding or without any.

    Raises:
        ValueError: as above.
    """
    standard = text.replace("-", "+").replace("_", "/")
    return from_base64(standard if "=" in standard else standard + "=" * (-len(standard) % 4))


def from_base64url(text: str) -> bytes:
    """Decode URL-safe base64 without padding (RFC 7515 section 2), in the one spelling that an encoder gives it.

    Raises:
        ValueError: it is spelled otherwise.
    """
    standard = text.encode().translate(_TO_STANDARD) + b"=" * (-len(text) % 4)
    decoded = a2b_base64(standard)
    if b2a_base64(decoded, newline=False) != standard:
        raise ValueError("not as an encoder writes it")
    return decoded
