"""What comes back from Entra, Graph or the blob storage."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that was read whole, and within its bound.

    Args:
        status: of the answer.
        body: as it came, which may be a token's.
        headers: by their names in lower case.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
