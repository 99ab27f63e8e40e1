"""Base64url without padding, the encoding of JOSE (RFC 7515 section 2)."""

import base64


def encode(data: bytes) -> str:
    """Return the text of these bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        ValueError: the text is not base64url.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
