"""The app in this process, as `build` makes it, against a local cloud: time is a fake clock's, sockets are real."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import PlainValidator

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Switch, parse
from emulator.seed import CERTIFICATE, CLIENT_ID, GRAPH, IDENTITY_CLIENT_ID, ORDERS, TENANT_ID
from emulator.tour.site import app_settings
from shared.api.answers import Answer
from shared.api.routes import ENTRA, FUNCTION_KEY, MANAGED_IDENTITY, OAUTH, Route
from shared.core.request import ASSERTION_TYPE, Incoming
from shared.runtime import build
from shared.system import System
from shared.telemetry.events import Events
from tests.clock import FakeClock, fake_system
from tests.contract import conforms, event_conforms
from tests.signer import identity_toml, inline_toml, token_of

KEY = "a-function-key-of-billing"
GRAPH_SCOPE, ORDERS_SCOPE = f"{GRAPH}/.default", f"{ORDERS}/.default"
INTERVAL_SECONDS = 60.0
"""Between two rounds of the sync, where a test does not say otherwise."""
SECONDS_TO_LAND = 20.0

type ParsedFault = Annotated[Fault, PlainValidator(lambda given: parse(json.dumps(given).encode()))]
"""A fault in a table of cases: a key that its kind does not take is a mistake."""


@dataclass(frozen=True)
class Told:
    """What a caller gets."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any] = field(repr=False)

    @property
    def wait(self) -> int | None:
        """The seconds of Retry-After."""
        return int(self.headers["Retry-After"]) if "Retry-After" in self.headers else None


class App(AbstractAsyncContextManager["App"]):
    """One worker; left, it has nothing under way and no connection.

    Args:
        cloud: what it talks to, by the same clock.
        clock: of both.
        folder: an empty one, for its configuration.
        scopes: that its one caller may have.
        settings: lines of TOML, keys with their dots; they may replace client, credentials and roots.
        authority, vault: in place of the cloud's.
        environ: app settings beside those that Azure sets.
        log: takes the lines in place of a list.

    Attributes:
        chance: what every draw of the worker is. A test may set it at any time.
    """

    def __init__(
        self,
        cloud: LocalCloud,
        clock: FakeClock,
        folder: Path,
        *,
        scopes: tuple[str, ...] = (GRAPH_SCOPE, ORDERS_SCOPE),
        settings: str = "",
        authority: str = "",
        vault: str = "",
        environ: Mapping[str, str] = MappingProxyType({}),
        log: Callable[[str], None] | None = None,
    ) -> None:
        write_configuration(
            cloud,
            folder,
            scopes=scopes,
            settings=settings,
            authority=authority or cloud.authority,
            vault=vault or cloud.vault_url,
        )
        self._cloud = cloud
        self.clock = clock
        self.lines: list[str] = []
        self.pauses = 0
        self.chance = 0.0
        self._events = Events(log or self.lines.append, wall=lambda: clock().wall, worker="w")
        self._runtime = build(
            {**app_settings(cloud, folder / "vend.toml"), **environ},
            root=folder,
            events=self._events,
            system=fake_system(
                clock,
                sleep=self._sleep,
                chance=lambda: self.chance,
                new_id=System().new_id,
                temporary=lambda: folder,
            ),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.landed()
        await self._runtime.aclose()

    async def ask(
        self, scope: str = GRAPH_SCOPE, *, key: str = KEY, route: Route = FUNCTION_KEY, **fields: str
    ) -> Told:
        """Ask for a token as the caller does, on any of the routes; what comes of it keeps to the contract."""
        before = len(self.lines)
        asked = request(route, scope=scope, key=key, **fields)
        answer = await self.send(route.name, asked)
        assert conforms(f"/api/{route.name}", asked.method, answer.status, answer.headers, answer.body) == []
        assert [fault for line in self.lines[before:] for fault in event_conforms(line)] == []
        return Told(answer.status, answer.headers, json.loads(answer.body))

    async def probe(self, method: str = "GET", query: str = "") -> Told:
        """Ask whether the worker can serve."""
        url = f"https://vend.test/api/health/ready{query}"
        answer = await self._runtime.routes["health/ready"](Incoming(method, url, {}, b""))
        assert conforms("/api/health/ready", method, answer.status, answer.headers, answer.body) == []
        return Told(answer.status, answer.headers, json.loads(answer.body or b"null"))

    async def diagnose(self, method: str = "GET", *, key: str = KEY, query: str = "") -> Told:
        """Ask what is wrong, as an administrator does."""
        asked = Incoming(method, f"https://vend.test/api/doctor{query}", {"x-functions-key": key}, b"")
        answer = await self._runtime.routes["doctor"](asked)
        assert conforms("/api/doctor", method, answer.status, answer.headers, answer.body) == []
        return Told(answer.status, answer.headers, json.loads(answer.body or b"null"))

    async def order(self, query: str = "", *, method: str = "POST", key: str = KEY) -> Told:
        """Ask for a run of the sync, as an administrator does."""
        asked = Incoming(method, f"https://vend.test/api/sync{query}", {"x-functions-key": key}, b"")
        answer = await self._runtime.routes["sync"](asked)
        assert conforms("/api/sync", method, answer.status, answer.headers, answer.body) == []
        return Told(answer.status, answer.headers, json.loads(answer.body or b"null"))

    async def send(self, route: str, incoming: Incoming) -> Answer:
        """Hand a request to a route, as the host does."""
        return await self._runtime.routes[route](incoming)

    @property
    def flights(self) -> int:
        """How often this worker has set out for Entra, whether anything came of it or not."""
        assert self._runtime.tokens is not None
        counted = self._runtime.tokens.counters
        return counted.acquired + counted.failures

    @property
    def entries(self) -> int:
        """How many keys are in the cache."""
        assert self._runtime.tokens is not None
        return len(self._runtime.tokens)

    async def sync(self, *, later: float = INTERVAL_SECONDS) -> list[dict[str, Any]]:
        """Run the timer's work some seconds later; list what it tells of the sync."""
        before = len(self.lines)
        self.clock.tick(later)
        await self._runtime.jobs["graph_sync"]()
        told = [json.loads(line) for line in self.lines[before:]]
        return [event for event in told if event["event"].startswith("sync_")]

    async def rotate(self) -> list[dict[str, Any]]:
        """Run the work of the other timer; list what it tells."""
        before = len(self.lines)
        await self._runtime.jobs["certificate_rotation"]()
        return [json.loads(line) for line in self.lines[before:]]

    async def landed(self) -> None:
        """Wait until nothing is under way behind the callers' backs."""
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            done, flying = await asyncio.wait(others, timeout=SECONDS_TO_LAND)
            assert done
            assert not flying

    def everything(self, name: str) -> list[dict[str, Any]]:
        """List the events of a name, those that wait for the next invocation among them."""
        self._events.flush()
        return [event for event in map(json.loads, self.lines) if event["event"] == name]

    async def _sleep(self, seconds: float) -> None:
        self.pauses += 1
        self.clock.tick(seconds)


def request(route: Route, *, scope: str, key: str, name: str = "billing", **fields: str) -> Incoming:
    """Make a request for a token; `fields` are those of a form."""
    url = f"https://vend.test/api/{route.name}"
    if route is MANAGED_IDENTITY:
        query = urlencode({"api-version": "2019-08-01", "resource": scope.removesuffix("/.default")})
        return Incoming("GET", f"{url}?{query}", {"x-identity-header": key}, b"")
    if route is ENTRA:
        url = url.replace("{tenant}", TENANT_ID)
        fields |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token_of(name)}
    form = urlencode({"grant_type": "client_credentials", "scope": scope, **fields}).encode()
    basic = base64.b64encode(f"{name}:{key}".encode()).decode()
    credentials = {OAUTH: {"authorization": f"Basic {basic}"}, ENTRA: {}}.get(route, {"x-functions-key": key})
    return Incoming("POST", url, {"content-type": "application/x-www-form-urlencoded", **credentials}, form)


@contextmanager
def suffering(switch: Switch, fault: Fault) -> Iterator[None]:
    """Have a part suffer from a fault for a while."""
    switch.set(fault)
    try:
        yield
    finally:
        switch.clear()


def write_configuration(
    cloud: LocalCloud, folder: Path, *, scopes: tuple[str, ...], settings: str, authority: str, vault: str
) -> None:
    """Write vend.toml and callers.toml."""
    listed = json.dumps(scopes)
    certificate = f'type = "certificate", vault = "{vault}", name = "{CERTIFICATE}"'
    usual = {
        "network.ca_file": json.dumps(str(cloud.ca_file)),
        "sync.interval_minutes": f"{INTERVAL_SECONDS / 60:.0f}",
        "profiles.graph.tenants": json.dumps([TENANT_ID]),
        "profiles.graph.client_id": json.dumps(CLIENT_ID),
        "profiles.graph.credentials": f"[{{ {certificate} }}]",
    }
    others = "\n".join(f"{key} = {value}" for key, value in usual.items() if _is_missing(key, settings))
    (folder / "vend.toml").write_text(
        f"""\
cloud = "local"
identity_client_id = "{IDENTITY_CLIENT_ID}"
clouds.local.authority = "{authority}"
clouds.local.graph = "{cloud.graph_url}"
clouds.local.management = "{authority}"
clouds.local.token_exchange_audience = "api://AzureADTokenExchange"
clouds.local.blob = "{cloud.blob_url}"
clouds.local.vault = "{cloud.vault_url}"
clouds.local.database = "localhost"
clouds.local.verify_vault_challenge = false
profiles.graph.scopes = {listed}
{inline_toml()}
{others}
{settings}
"""
    )
    (folder / "callers.toml").write_text(callers_document({"billing": KEY}, scopes=scopes))


def _is_missing(key: str, settings: str) -> bool:
    """Return whether a configuration needs the usual value; one without `sync.profile` has no sync."""
    return f"{key} = " not in settings and (not key.startswith("sync.") or "sync.profile" in settings)


def callers_document(
    keys: Mapping[str, str], *, scopes: tuple[str, ...] = (GRAPH_SCOPE, ORDERS_SCOPE), generation: int = 1
) -> str:
    """Write down who may have these scopes; `keys` by caller."""
    entries = [
        f"""\
[callers.{name}]
key_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]
{identity_toml(name)}
allow = [{{ profile = "graph", scopes = {json.dumps(scopes)} }}]
"""
        for name, key in keys.items()
    ]
    return "\n".join([f"generation = {generation}\n", *entries])
