"""The function keys of a Functions host: a durable store, and the cached view that one instance has of it.

The store is the blob of the real host. The view has both caches of the real host: an unknown key reloads the store, at
most once a minute; an accepted key stays accepted, even after it is deleted.
Source: SecretManager of https://github.com/Azure/azure-functions-host.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path

from emulator.host.files import replace_json

RELOAD_INTERVAL = dt.timedelta(minutes=1)
DEFAULT = "default"


class Level(IntEnum):
    """The level of a key; each includes the ones before it."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


def generate() -> str:
    """Return a new key value of the platform's form: 40 bytes as 56 URL-safe characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()


@dataclass(frozen=True)
class Keys:
    """Every key of one app; the field names are the store's JSON names."""

    master: str = field(repr=False)
    functionKeys: dict[str, str] = field(repr=False)  # noqa: N815 - the store's name
    functions: dict[str, dict[str, str]] = field(repr=False)

    def scope(self, function: str | None) -> dict[str, str]:
        """Return the keys of one function, or the host-scoped ones for None."""
        return self.functionKeys if function is None else self.functions.setdefault(function, {})

    def level(self, key: str, function: str | None) -> Level:
        """Return the level of a key, in a time that does not depend on how much of it is right."""
        if _same(key, self.master):
            return Level.ADMIN
        candidates = [*self.functionKeys.values(), *self.functions.get(function or "", {}).values()]
        matches = [_same(key, candidate) for candidate in candidates]
        return Level.FUNCTION if any(matches) else Level.ANONYMOUS


class KeyFile:
    """The store: one JSON file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self, functions: Iterable[str] = ()) -> None:
        """Create the file if it is absent, and a default key for each function without keys.

        Raises:
            ValueError: the file exists and is no key store.
        """
        keys = self.read() if self._path.exists() else Keys(generate(), {DEFAULT: generate()}, {})
        for function in functions:
            if not keys.scope(function):
                keys.scope(function)[DEFAULT] = generate()
        self.write(keys)

    def read(self) -> Keys:
        """Return every key.

        Raises:
            ValueError: the file is no key store.
        """
        try:
            keys = Keys(**json.loads(self._path.read_text()))
        except (ValueError, TypeError):
            # The cause would quote the file.
            raise ValueError(f"{self._path} is not a key store") from None
        if not keys.master:
            raise ValueError(f"{self._path} has no master key")
        return keys

    def write(self, keys: Keys) -> None:
        """Replace every key."""
        replace_json(self._path, asdict(keys))

    def set(self, function: str | None, name: str, value: str) -> bool:
        """Set one key of a function, or a host-scoped one for None; return whether its name is new."""
        keys = self.read()
        is_new = name not in keys.scope(function)
        keys.scope(function)[name] = value
        self.write(keys)
        return is_new

    def delete(self, function: str | None, name: str) -> bool:
        """Delete one key of a function, or a host-scoped one for None; return whether there was one."""
        keys = self.read()
        if keys.scope(function).pop(name, None) is None:
            return False
        self.write(keys)
        return True


class KeyRing:
    """One instance's view of the store."""

    def __init__(self, file: KeyFile, *, now: Callable[[], dt.datetime]) -> None:
        self._file = file
        self._now = now
        self._keys = file.read()
        self._accepted: dict[bytes, Level] = {}
        self._reloaded: dt.datetime | None = None

    def level(self, key: str, function: str | None = None) -> Level:
        """Return the level of a presented key at one function, or at the host itself for None."""
        if not key:
            return Level.ANONYMOUS
        ticket = hashlib.sha256(f"{function or ''}\0{key}".encode()).digest()
        if remembered := self._accepted.get(ticket):
            return remembered
        level = self._keys.level(key, function)
        if level is Level.ANONYMOUS and self._may_reload():
            self._keys = self._file.read()
            level = self._keys.level(key, function)
        if level is not Level.ANONYMOUS:
            self._accepted[ticket] = level
        return level

    def _may_reload(self) -> bool:
        """Return whether the last reload is long enough ago: a flood of wrong keys causes no flood of reads."""
        now = self._now()
        if self._reloaded is not None and now - self._reloaded <= RELOAD_INTERVAL:
            return False
        self._reloaded = now
        return True


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
