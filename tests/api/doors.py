"""Where the cases of tests/data/abuse.toml are sent to: the app itself, or its host."""

import asyncio
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from emulator.cloud import LocalCloud
from emulator.seed import CERTIFICATE
from emulator.tour.site import CALLER, Site
from tests.api.abuse import KINDS, Kind
from tests.clock import FakeClock
from tests.in_process import GRAPH_SCOPE, KEY, ORDERS_SCOPE, App
from tests.signer import identity_toml, token_of
from tests.wire import Wire, exchange, wire

REFUSED_BY_ENTRA = "api://refused/.default"
OTHERS = {"client_id": "22222222-2222-2222-2222-222222222222", "tenants": ["11111111-1111-1111-1111-111111111111"]}
FLOOR = 0.5
HURRIED_PER_MINUTE = 100
CHALLENGES_PER_MINUTE = 60
NAMES = ("billing", "orders", "expired", "nothing", "hurried", "unknown", "default")
KEYS = {name: f"a-function-key-of-{name}" for name in NAMES} | {
    "second of billing": "another-function-key-of-billing",
    "colon": "a:function:key:of:colon",
    "plus": "a+function+key+of+plus",
    "escape": "a-function-key-of-%65scape",
    "changed": KEY[:-1] + chr(ord(KEY[-1]) ^ 1),
    "shorter": KEY[:-1],
    "twice": f"{KEY},{KEY}",
    "first of two": f"{KEY},a-function-key-of-nobody",
    "second of two": f"a-function-key-of-nobody,{KEY}",
}


TOKENS = {f"token of {name}": token_of(name) for name in NAMES}
TOKENS |= {
    "token of changed": TOKENS["token of billing"][:-8] + TOKENS["token of orders"][-8:],
    "token of shorter": TOKENS["token of billing"][:-1],
}
"""Of a day, by the clock of the app's door."""


class Told(NamedTuple):
    """An answer as it came; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain(self) -> tuple[int, Mapping[str, str], str]:
        """All of it but the correlation id."""
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", self.body.decode())
        return self.status, {name: value for name, value in self.headers.items() if name != "date"}, text


class Door(ABC):
    """Where requests are sent to.

    Args:
        cloud: that the app talks to.
        keys: by the names that cases call them by.
    """

    def __init__(self, cloud: LocalCloud, keys: Mapping[str, str]) -> None:
        self.cloud = cloud
        self.keys = keys
        self.model = cache(self._model)

    @abstractmethod
    def send(self, sent: Wire, way: str) -> Told:
        """Send a request and take its answer."""

    @abstractmethod
    def log(self) -> list[str]:
        """List what the app has logged since this was last asked."""

    @property
    @abstractmethod
    def flights(self) -> int:
        """How often the app has set out for Entra."""

    def _model(self, way: str, kind: Kind) -> Told:
        return self.send(wire(KINDS[kind][2], way, self.keys), way)


class AppDoor(Door):
    """The app itself, on an event loop that outlives a test."""

    def __init__(self, cloud: LocalCloud, clock: FakeClock, app: App, runner: asyncio.Runner) -> None:
        super().__init__(cloud, {**KEYS, **TOKENS})
        self.clock = clock
        self.app = app
        self.runner = runner

    def send(self, sent: Wire, way: str) -> Told:
        """Hand a request over as the host does, a second after the one before."""
        self.clock.tick(1)
        return self.at_once(sent, way)

    def at_once(self, sent: Wire, way: str) -> Told:
        """Do the same in no time."""
        answer = self.runner.run(self.app.send(way.split(maxsplit=1)[0], sent.incoming()))
        return Told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def log(self) -> list[str]:
        """Take the lines."""
        lines, self.app.lines[:] = list(self.app.lines), []
        return lines

    @property
    def flights(self) -> int:
        """Ask the cache, which knows of those that Entra never saw."""
        return self.app.flights


class HostDoor(Door):
    """The app behind its host, over a socket on which nobody tidies up."""

    def __init__(self, site: Site) -> None:
        store = json.loads((site.folder / "host.keys.json").read_text())
        made = {name.removeprefix("vend-"): key for name, key in store["functionKeys"].items()}
        keys = {**made, "_master": store["master"]}
        keys |= {
            "changed": site.key[:-1] + chr(ord(site.key[-1]) ^ 1),
            "of another function": store["functions"]["msi_token"]["default"],
            "token of billing": (site.folder / f"{CALLER}.token").read_text(),
        }
        super().__init__(site.cloud, keys)
        self._log = site.folder / "app.log"
        self._seen = 0
        self._port = int(site.app.url.rpartition(":")[2])

    def send(self, sent: Wire, way: str) -> Told:  # noqa: ARG002  # the path says it
        """Send the octets, and read until the host closes."""
        head, _, body = exchange(sent, self._port).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(headers) == len(lines)
        return Told(
            int(first.split()[1]), {name: value for name, value in headers.items() if name != "connection"}, body
        )

    def log(self) -> list[str]:
        """Read on in the file."""
        with self._log.open("rb") as file:
            file.seek(self._seen)
            found = file.read()
        self._seen += len(found)
        return found.decode().splitlines()

    @property
    def flights(self) -> int:
        """Ask Entra."""
        return len(self.cloud.entra.requests)


@contextmanager
def opened(cloud: LocalCloud, clock: FakeClock, folder: Path, *, more: str = "") -> Iterator[AppDoor]:
    """Open an app with its token for Graph in the cache; `more` stands in its callers document."""
    credential = f'{{ type = "certificate", vault = "{cloud.vault_url}", name = "{CERTIFICATE}" }}'
    others = f'tenants = {OTHERS["tenants"]}, client_id = "{OTHERS["client_id"]}", credentials = [{credential}]'
    # What is shrunken is over at the next request; no refresh in the background is due before all cases are through.
    settings = f"""\
app_checked_routes = true
limits.forced_refresh_interval_seconds = {FLOOR}
limits.claims_per_minute = {CHALLENGES_PER_MINUTE}
limits.refresh_fraction_min = 0.1
limits.refresh_fraction_max = 0.1
limits.failure_permanent_seconds = 0.5
profiles.private = {{ scopes = ["api://private/.default"], vendable = false, {others} }}
profiles.other = {{ scopes = ["api://other/.default"], {others} }}
"""
    with asyncio.Runner() as runner:
        app = App(cloud, clock, folder, scopes=(GRAPH_SCOPE, ORDERS_SCOPE, REFUSED_BY_ENTRA), settings=settings)
        write_callers(folder, more=more)
        runner.run(app.__aenter__())
        assert runner.run(app.ask()).status == 200
        door = AppDoor(cloud, clock, app, runner)
        door.log()
        yield door
        runner.run(app.__aexit__(None, None, None))


def write_callers(folder: Path, *, more: str = "") -> None:
    """Write who calls; beside `billing` there is one with something else, one with nothing, and one that was."""
    graph = f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}"] }}]'
    entries = {
        "billing": f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}", "{REFUSED_BY_ENTRA}"] }}]',
        "orders": f'allow = [{{ profile = "graph", scopes = ["{ORDERS_SCOPE}"] }}]',
        "nothing": "",
        "expired": f"not_after = 2020-01-01T00:00:00Z\n{graph}",
        "hurried": f"per_worker_per_minute = {HURRIED_PER_MINUTE}\n{graph}",
        "colon": graph,
        "plus": graph,
        "escape": graph,
    }
    for name, lines in entries.items():
        keys = [key for known, key in KEYS.items() if known in {name, f"second of {name}"}]
        digests = json.dumps([hashlib.sha256(key.encode()).hexdigest() for key in keys])
        more += f"[callers.{name}]\nkey_sha256 = {digests}\n{identity_toml(name)}\n{lines}\n"
    (folder / "callers.toml").write_text(more)
