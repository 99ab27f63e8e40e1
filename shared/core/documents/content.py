"""A document as its source has it now."""

from dataclasses import dataclass, field

DOCUMENT_BYTES = 1024 * 1024
"""The most that is read of a document: callers by the thousand."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a document, and the ETag that names this version of them."""

    etag: str
    text: bytes = field(repr=False)
