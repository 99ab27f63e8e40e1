"""JSON Web Signatures in their compact form (RFC 7515): what the keys of a client sign."""

import base64
import json
from collections.abc import Mapping
from enum import StrEnum


class Algorithm(StrEnum):
    """How a key signs (RFC 7518 section 3.1)."""

    PS256 = "PS256"
    RS256 = "RS256"


def signing_input(header: Mapping[str, object], claims: Mapping[str, object]) -> bytes:
    """Return the part that a key must sign (RFC 7515 section 5.1)."""
    return b".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def compact(signed: bytes, signature: bytes) -> str:
    """Return the compact form of what was signed, and its signature (RFC 7515 section 7.1)."""
    return (signed + b"." + base64url(signature)).decode()


def base64url(raw: bytes) -> bytes:
    """Return the base64url form without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
