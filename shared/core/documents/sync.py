"""`[sync]` of vend.toml: which profile reads the directory, and where the copy is kept."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from shared.core.directory.streams import STREAMS, USERS
from shared.core.documents.places import is_blob
from shared.core.entra.clouds import Cloud
from shared.core.rules import NOTHING, breaks, items

MOST_MINUTES = 1_440
"""Of the interval between two rounds: the recycle bin is looked into once a day."""

_SQLITE_SCHEME = "sqlite:///"
# No options, no folder, and no database in memory, which every connection has for itself.
_SQLITE = re.compile(_SQLITE_SCHEME + r"(?!:memory:$)[^?]*[^?/]")
_SERVER_SCHEME = "postgresql://"
# No password and no options: nothing in the URL is a secret, or makes the connection weaker.
_SERVER = re.compile(_SERVER_SCHEME + r"([\w.~%-]+)@([a-z0-9.-]{1,253})(?::([0-9]{1,5}))?/([\w-]{1,63})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database of a PostgreSQL server, and its user."""

    user: str
    host: str
    port: int
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """`[sync]`: which profile reads the directory, and where the copy is kept."""

    profile: str
    store: str = field(repr=False)
    password: str = field(default="", repr=False)
    streams: tuple[str, ...] = (USERS.name,)
    interval_minutes: int = 15

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        found = [
            f"{at}.streams[{index}]: must be one of {', '.join(STREAMS)}"
            for index, name in items(self.streams)
            if name not in STREAMS
        ]
        found += [
            f"{at}.streams[{index}]: stands there twice"
            for index, name in items(self.streams)
            if name in STREAMS and name in self.streams[:index]
        ]
        if breaks(lambda store: _SQLITE.fullmatch(store) or is_blob(store) or _address(store), self.store):
            what = "must be sqlite:///PATH, postgresql://USER@HOST/DATABASE, or the https URL of a blob"
            found.append(f"{at}.store: {what}, and nothing else; a password is no part of it")
        if breaks(lambda store, password: not password or _address(store), self.store, self.password):
            found.append(f"{at}.password: is for a store at {_SERVER_SCHEME}... alone")
        if breaks(lambda minutes: 1 <= minutes <= MOST_MINUTES, self.interval_minutes):
            found.append(f"{at}.interval_minutes: must be from 1 to {MOST_MINUTES}")
        return found

    @property
    def is_blob(self) -> bool:
        """Whether the file lies in a blob."""
        return self.store.startswith("https://")

    @property
    def is_file(self) -> bool:
        """Whether it is a file on this machine."""
        return self.store.startswith(_SQLITE_SCHEME)

    @property
    def file(self) -> str:
        """The path of the database; a relative one starts in the folder of the app."""
        return self.store.removeprefix(_SQLITE_SCHEME)

    @property
    def address(self) -> DatabaseAddress | None:
        """The database, if it is on a server."""
        return _address(self.store)


def store_mistakes(sync: SyncSettings, home: Cloud | None, *, on_azure: bool) -> list[str]:
    """List why the copy cannot be kept there.

    Args:
        sync: what was wrong in it is `NOTHING`.
        home: the cloud; None if a mistake leaves open which one.
        on_azure: whether this is Azure Functions.
    """
    store = sync.store
    if store is NOTHING:
        return []
    if on_azure and _SQLITE.fullmatch(store):
        return ["sync.store: on Azure each instance has a disk of its own; write the https URL of a blob"]
    if home and is_blob(store) and (fault := home.blob_fault(store)):
        return [f"sync.store: {fault}; a token for Azure Storage goes nowhere else"]
    if (address := _address(store)) is None or sync.password is NOTHING:
        return []
    if on_azure and sync.password:
        return ["sync.password: must not be there on Azure: the app's identity signs in, with a token"]
    if home and not sync.password and (fault := home.database_fault(address.host)):
        return [f"sync.store: {fault}; a token for a database goes nowhere else. Another server needs sync.password"]
    return []


def _address(store: str) -> DatabaseAddress | None:
    """Return the database that a URL names; None if it is no such URL."""
    if (found := _SERVER.fullmatch(store)) is None or not 0 < (port := int(found[3] or "5432")) < 65_536:
        return None
    return DatabaseAddress(user=unquote(found[1]), host=found[2], port=port, database=found[4])
