"""The credential `type = "certificate_file"`: a certificate and its key in a PEM or PFX file."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime

from shared.core.documents.content import Content
from shared.core.entra.key_pair import KeyPair
from shared.core.errors import OperatorError
from shared.core.token import Clock
from shared.credentials.certificate_link import CertificateLink, LinkFacts
from shared.credentials.local_key import parse_key_pair

LOOK_SECONDS = 60.0
"""How often the file is looked at, to see whether it has changed."""


type Read = Callable[[str], Awaitable[Content | None]]
"""Returns the content of the file, or None where its ETag is this one; it raises the errors of `Credential.read`."""


class CertificateFile:
    """A certificate in a file, which is read again when it has changed.

    A file that cannot be read, or whose certificate cannot be used now, leaves the one that was read before in use.

    Args:
        read: reads the file.
        name: of the file, for errors and events.
        password: of the key; "" for none.
        link: returns the link of a certificate.
        clock: both clocks.
        threads: where it is parsed.
    """

    def __init__(
        self,
        read: Read,
        *,
        name: str,
        password: str,
        link: Callable[[LinkFacts, KeyPair], CertificateLink],
        clock: Clock,
        threads: Executor,
    ) -> None:
        self._content = read
        self._name = name
        self._password = password
        self._make = link
        self._clock = clock
        self._threads = threads
        self._etag = ""
        self._pair: KeyPair | None = None
        self._link: CertificateLink | None = None
        self._read_at = 0.0

    @property
    def links(self) -> Sequence[CertificateLink]:
        """The certificate, while it is within its dates."""
        return [self._link] if self._link and self._is_usable(self._pair) else []

    @property
    def is_old(self) -> bool:
        """Whether the file was looked at longer ago than `LOOK_SECONDS`."""
        return self._clock.boot() - self._read_at >= LOOK_SECONDS

    async def read(self) -> None:
        """Read the file if it has changed; errors as in `Credential`."""
        content = await self._content(self._etag)
        self._read_at = self._clock.boot()
        pair, etag = self._pair, self._etag
        if content is not None:
            pair = await parse_key_pair(content.text, name=self._name, password=self._password, threads=self._threads)
            etag = content.etag
        if pair is None or not self._is_usable(pair):
            cause = "the certificate is not valid yet, or has ended"
            raise OperatorError(cause=cause, remedy="replace the file: docs/credentials.md").about(self._name)
        if pair is not self._pair:
            facts = LinkFacts(f"{self._name}#{pair.certificate.thumbprint[:12]}", None, pair.certificate.not_after)
            self._link = self._make(facts, pair)
        self._pair, self._etag = pair, etag

    def _is_usable(self, pair: KeyPair | None) -> bool:
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        return pair is not None and pair.certificate.is_usable(now)
