"""The plain secrets of the local vault: values with versions, which a test or the seed sets.

The secrets of certificates are not among them; they share the address and the name space with these.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.vault.errors import not_found


@dataclass
class Secret:
    """One version of a plain secret; the dates are in epoch seconds, and Key Vault gives it out whatever they say."""

    name: str
    id: str
    value: str = field(repr=False)
    content_type: str
    enabled: bool
    not_before: int | None
    expires: int | None
    created: int
    updated: int


class Secrets:
    """Secrets by name, in any case; the versions of each from the oldest to the latest."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[str, list[Secret]] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether there is a secret of this name."""
        return name.lower() in self._held

    def set(
        self,
        name: str,
        value: str,
        *,
        content_type: str = "",
        not_before: int | None = None,
        expires: int | None = None,
    ) -> Secret:
        """Add a version, the first one included."""
        now = int(self._now())
        versions = self._held.setdefault(name.lower(), [])
        added = Secret(
            versions[0].name if versions else name,
            uuid.uuid4().hex,
            value,
            content_type=content_type,
            enabled=True,
            not_before=not_before,
            expires=expires,
            created=now,
            updated=now,
        )
        versions.append(added)
        return added

    def versions(self, name: str) -> list[Secret]:
        """Return the versions of a secret, the oldest first."""
        return list(self._held.get(name.lower(), []))

    def find(self, name: str, version: str | None) -> Secret:
        """Return a version, or the latest when none is named.

        Raises:
            Refusal: 404.
        """
        for each in reversed(self.versions(name)):
            if not version or each.id == version.lower():
                return each
        raise not_found("secret", f"{name}/{version}" if version else name)

    def set_enabled(self, name: str, version: str | None, *, enabled: bool) -> None:
        """Enable or disable a version.

        Raises:
            Refusal: 404.
        """
        secret = self.find(name, version)
        secret.enabled, secret.updated = enabled, int(self._now())
