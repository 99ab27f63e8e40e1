"""The credential `type = "certificate_file"`: a certificate and its key in a PEM or PFX file."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from shared.core.documents.content import Content
from shared.core.entra.key_pair import KeyPair
from shared.core.errors import OperatorError
from shared.core.token import Clock
from shared.credentials.certificate_link import CertificateLink, LinkFacts
from shared.credentials.local_key import parse_key_pair

LOOK_SECONDS = 60.0
"""How often the file is looked at, to see whether it has changed."""


class Source(Protocol):
    """Where the file is; its errors are those of `Credential.read`."""

    async def read(self, etag: str) -> Content | None:
        """Return the content, or None where its ETag is this one."""


class CertificateFile:
    """A certificate in a file, which is read again when it has changed.

    A file that cannot be read, or whose key vend does not take, leaves the certificate that was read before in use.

    Args:
        source: reads the file.
        name: of the file, for errors and events.
        password: of the key; "" for none.
        link: returns the link of a certificate.
        clock: both clocks.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        password: str,
        link: Callable[[LinkFacts, KeyPair], CertificateLink],
        clock: Clock,
    ) -> None:
        self._source = source
        self._name = name
        self._password = password
        self._make = link
        self._clock = clock
        self._etag = ""
        self._link: CertificateLink | None = None
        self._read_at = 0.0

    @property
    def links(self) -> Sequence[CertificateLink]:
        """The certificate, while it is within its dates."""
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        return [self._link] if self._link and self._link.not_after and now < self._link.not_after else []

    @property
    def is_old(self) -> bool:
        """Whether the file was looked at longer ago than `LOOK_SECONDS`."""
        return self._clock.boot() - self._read_at >= LOOK_SECONDS

    async def read(self) -> None:
        """Read the file if it has changed; errors as in `Credential`."""
        content = await self._source.read(self._etag)
        self._read_at = self._clock.boot()
        if content is not None:
            pair = await parse_key_pair(content.text, name=self._name, password=self._password)
            facts = LinkFacts(f"{self._name}#{pair.certificate.thumbprint[:12]}", None, pair.certificate.not_after)
            self._link, self._etag = self._make(facts, pair), content.etag
        if not self.links:
            raise OperatorError(cause=f"{self._name}: the certificate has ended", remedy="replace the file")
