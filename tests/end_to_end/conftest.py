"""The app in Microsoft's runtime, in this process, so that a test can look into the cache while requests wait."""

import asyncio
import datetime as dt
import gc
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud import LocalCloud
from emulator.host.app import Host
from emulator.host.keys import generate
from emulator.network.serve import Background
from emulator.tour.site import CALLER, ROOT, SCOPE, app_settings, write_configuration, write_keys
from shared.core.documents.settings import ON_AZURE
from shared.runtime import runtime
from shared.tokens.cache import TokenCache
from tests.contract import conforms

FORM = f"grant_type=client_credentials&scope={SCOPE}".encode()
SECONDS_TO_COME = 30


class Resident:
    """The app with a cold cache of its own, its host and its cloud.

    Attributes:
        answers: what `invoke` has returned, in its order.
    """

    def __init__(self, cloud: LocalCloud, host: Host, background: Background, *, key: str, log: list[str]) -> None:
        self.cloud = cloud
        self.host = host
        self._background = background
        self._log = log
        self.answers: list[Mapping[str, Any]] = []
        self.headers = {"x-functions-key": key, "content-type": "application/x-www-form-urlencoded"}

    @property
    def tokens(self) -> TokenCache:
        """The app's cache."""
        found = runtime().tokens
        assert found is not None
        return found

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """The events that a reader of the log sees, without the one that says which credential Entra accepted."""
        found = [json.loads(line) for line in self._log if line.startswith("{")]
        return [event for event in found if event["event"] != "credential_accepted"]

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the app's loop."""
        return self._background.run(work)

    def listen(self) -> int:
        """Serve the app on a socket too; tell the port."""
        return self._background.serve(self.host)

    async def invoke(self) -> int:
        """Ask for a token by the host's own entry, which is past its sockets; tell the status."""
        answer = await self.host.invoke(
            "token", method="POST", url="http://localhost/api/token", headers=self.headers.items(), body=FORM
        )
        assert conforms("/api/token", "POST", answer.status, dict(answer.headers), answer.body) == []
        self.answers.append(json.loads(answer.body))
        return answer.status

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something inside the app, which tells nobody when it comes about.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(SECONDS_TO_COME):
            while not condition():  # noqa: ASYNC110  # that is what there is
                await asyncio.sleep(0.001)


@pytest.fixture
def resident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Mapping[str, float]], Resident]]:
    """Start a fresh app with some limits; once per test."""
    with ExitStack() as stack:

        def begin(limits: Mapping[str, float]) -> Resident:
            key, keys, log = generate(), tmp_path / "host.keys.json", list[str]()
            cloud, background = stack.enter_context(LocalCloud(tmp_path)), stack.enter_context(Background())
            write_configuration(cloud, tmp_path, {CALLER: key}, limits=limits)
            write_keys(keys, {CALLER: key})
            for name in ON_AZURE:
                monkeypatch.delenv(name, raising=False)
            for name, value in app_settings(cloud, tmp_path / "vend.toml").items():
                monkeypatch.setenv(name, value)
            host = Host.load(ROOT, keys=keys, now=lambda: dt.datetime.now(dt.UTC), log=log.append)
            stack.callback(gc.collect)  # an SDK client keeps its connection until then
            stack.callback(runtime.cache_clear)
            stack.callback(lambda: background.run(runtime().aclose()))
            return Resident(cloud, stack.enter_context(background.run(host)), background, key=key, log=log)

        yield begin
