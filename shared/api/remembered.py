"""Forms that were read lately: what was understood of each, by a digest, and nothing of what was sent."""

import hashlib
from collections.abc import Callable

from shared.core.request import TokenRequest

FORMS = 256


class RememberedForms:
    """Reads forms; one that was read lately is not read again.

    A service asks for the same again and again, and reading that is a fifth of the work of an answer from the cache. A
    field that the reader ignores may hold a secret, such as `password`, so the form itself is not kept.

    Args:
        read: reads a body and a query; what it refuses is not remembered.
    """

    def __init__(self, read: Callable[[bytes, str], TokenRequest]) -> None:
        self._read = read
        self._understood: dict[bytes, TokenRequest] = {}  # the one unused for longest comes first

    def read(self, body: bytes, query: str) -> TokenRequest:
        """Read a form, or remember what it was.

        Raises:
            Refused: as the reader does.
        """
        text = query.encode(errors="surrogatepass")
        digest = hashlib.sha256(b"%d " % len(body) + body + text).digest()
        request = self._understood.pop(digest, None)
        if request is None:
            request = self._read(body, query)
            if len(self._understood) >= FORMS:
                del self._understood[next(iter(self._understood))]
        self._understood[digest] = request
        return request
