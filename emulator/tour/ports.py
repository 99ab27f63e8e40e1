"""Where a site listens: at ports that are always the same, at a row of ports from a chosen one, or at free ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from emulator.cloud import LocalCloud
from emulator.network.serve import listening_socket

APP_PORT = 7071
PARTS: Mapping[str, int] = MappingProxyType(
    {
        "entra": 8443, "vault": 8444, "graph": 8445, "management": 8446, "blob": 8447, "issuer": 8448,
        "identity": 8442, "control": 8440, "app": 7443,
    }
)  # fmt: skip
"""The parts of the cloud; `app` is the TLS in front of the app."""
ADDRESSES = "addresses.json"
"""The file that leads `./vend` to what runs here."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a site.

    Args:
        app: of the Functions host; 0 for a free one.
        parts: of the parts of the cloud; the others get free ones.
    """

    app: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def usual(cls) -> Self:
        """Return the ports of `make run` and `make cloud`."""
        return cls(APP_PORT, PARTS)

    @classmethod
    def following(cls, first: int) -> Self:
        """Return a row of ports: the first for the app, the next ones for the parts of the cloud in their order."""
        return cls(first, {part: first + place for place, part in enumerate(PARTS, start=1)})


FREE = Ports()
LENGTH = len(PARTS) + 1
"""How many ports a row has."""


def serving(folder: Path) -> str | None:
    """Return the address of the run that has written into a folder and serves still; None where there is none."""
    try:
        found = json.loads((folder / ADDRESSES).read_text())
    except FileNotFoundError:
        return None
    try:
        listening_socket(int(found["control"].rpartition(":")[2])).close()
    except OSError:  # the port is taken
        return str(found.get("app", found["control"]))
    return None


def write_addresses(folder: Path, cloud: LocalCloud, *, app: str | None) -> None:
    """Write where the app and the control API listen.

    Args:
        folder: for the file.
        cloud: the cloud.
        app: the address of the app; None without one.
    """
    found = {"control": cloud.control} | ({"app": app} if app else {})
    (folder / ADDRESSES).write_text(json.dumps(found))
