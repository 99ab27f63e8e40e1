"""A document as its source has it now."""

import hashlib
from dataclasses import dataclass, field

DOCUMENT_BYTES = 256 * 1024
"""The most that is read of a document: a thousand callers."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a document, and the ETag that names this version of them."""

    etag: str
    text: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """The first 12 hex digits of its SHA-256: what events and reports call this version of the document."""
        return hashlib.sha256(self.text).hexdigest()[:12]
