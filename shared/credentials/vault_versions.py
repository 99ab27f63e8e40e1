"""A certificate or a secret in Key Vault, of which each usable version is a link."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from shared.core.entra.certificate import VersionSummary
from shared.core.errors import OperatorError
from shared.core.limits import Limits
from shared.core.token import Clock
from shared.credentials.credential import Link

type Listing = Callable[[], Awaitable[Sequence[VersionSummary]]]


class VaultVersions[L: Link]:
    """A credential in Key Vault.

    Args:
        url: of the certificate or secret, without a version.
        listing: lists its versions; it raises the errors of `Credential.read`.
        link: returns the link of a version with an id.
        limits: the knobs.
        clock: both clocks.
    """

    def __init__(
        self,
        url: str,
        *,
        listing: Listing,
        link: Callable[[str, VersionSummary], L],
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._url = url
        self._listing = listing
        self._link = link
        self._limits = limits
        self._clock = clock
        self._links: dict[str, tuple[VersionSummary, L]] = {}
        self._read_at = 0.0

    @property
    def links(self) -> Sequence[L]:
        """The versions that are enabled and within their dates, as of the last reading."""
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        return [link for found, link in self._links.values() if found.is_usable(now)]

    @property
    def is_old(self) -> bool:
        """Whether the last reading is longer ago than `vault_reread_seconds`."""
        return self._clock.boot() - self._read_at >= self._limits.vault_reread_seconds

    async def read(self) -> None:
        """Read which versions there are; errors as in `Credential`."""
        found = {version.version: version for version in await self._listing() if version.enabled}
        # A link that is known stays, with its assertions and its key: what a version holds never changes.
        known = {version: link for version, (_, link) in self._links.items()}
        self._links = {
            version: (summary, known.get(version) or self._link(f"{self._url}/{version}", summary))
            for version, summary in found.items()
        }
        self._read_at = self._clock.boot()
        if not self.links:
            raise OperatorError(
                cause="no version is enabled and within its dates",
                remedy="make a new version and register it with the client: docs/credentials.md",
            ).about(self._url.rpartition("/")[2])
