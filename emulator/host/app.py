"""The local Functions host: serves a function app over HTTP as Azure Functions does, with the same keys and log.

It adds to a request and removes from it what the real host does, so that an app meets no surprise in Azure.
Source: https://github.com/Azure/azure-functions-host (named at each rule).
"""

import asyncio
import datetime as dt
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure_functions_runtime.bindings.datumdef import Datum
from starlette.types import Receive, Scope, Send

from emulator.host.http_binding import Answer, answer_of, decoded_path, encoded_path, presented_key, request_datum
from emulator.host.key_api import KeyApi
from emulator.host.keys import KeyFile, KeyRing, Level
from emulator.host.routes import Route, Router, compile_route
from emulator.host.timer import StatusFile, Timer, Timers
from emulator.host.worker import InvocationFailedError, Worker
from emulator.host.worker_log import LEVELS, WorkerLog
from emulator.network.serve import HOST

HTTP_TRIGGER = "httpTrigger"
TIMER_TRIGGER = "timerTrigger"
FUNCTION = re.compile("/admin/functions/([^/]+)", re.IGNORECASE)
BODY_LIMIT = 104_857_600  # bytes: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#limits
NOT_FOUND = Answer(404)
STATUS = "/admin/host/status"
HOMEPAGE = b"<!DOCTYPE html><title>Your Azure Function App is up and running.</title>"


class Host:
    """One function app behind its host; use it as a context manager, or call `close`."""

    def __init__(
        self,
        worker: Worker,
        log: WorkerLog,
        settings: Mapping[str, Any],
        *,
        ring: KeyRing,
        api: KeyApi,
        timers: Timers,
    ) -> None:
        self.functions = worker.functions
        self._worker = worker
        self._log = log
        self._ring = ring
        self._key_api = api
        self._router = Router(self._routes(settings))
        self._levels = {name: _required(function.binding) for name, function in self.functions.items()}
        self._timers = timers

    @classmethod
    async def load(
        cls,
        app_dir: Path,
        *,
        keys: Path,
        now: Callable[[], dt.datetime],
        log: Callable[[str], object],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Self:
        """Load the app of a folder and start its timers; its settings are the environment of the process.

        Args:
            app_dir: has host.json and function_app.py.
            keys: the key store, created if absent; the status of the timers is stored beside it.
            now: the clock of the key cache and of the timers, in UTC.
            log: called with every line of the app's log.
            sleep: waits so many seconds by that clock, or less.

        Raises:
            ValueError: host.json, the key store or the timers' status cannot be read.
            OSError: the same.
        """
        settings = json.loads((app_dir / "host.json").read_text())
        worker_log = WorkerLog(log, _log_level(settings))
        file = KeyFile(keys)
        file.prepare()
        status = StatusFile(keys.with_suffix(".timers.json"))
        worker_log.attach(debug=os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").lower() in {"1", "true"})
        worker = await Worker(app_dir, worker_log).start()
        file.prepare(worker.functions)
        timers = Timers(status, now=now, sleep=sleep, run=lambda name, trigger: _run_timer(worker, name, trigger))
        timers.start(_timers(worker, worker_log, now=now()))
        api = KeyApi(file, worker.functions)
        return cls(worker, worker_log, settings, ring=KeyRing(file, now=now), api=api, timers=timers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the timers, unload the app and detach from the log of the process."""
        self._timers.stop()
        self._worker.stop()
        self._log.detach()

    @property
    def dropped_lines(self) -> int:
        """How many lines the app logged outside a running invocation."""
        return self._log.dropped_lines

    async def invoke(
        self,
        function: str,
        *,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        route_params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run one HTTP function without routing and keys; a failure is an empty 500, and the log has the reason.

        Raises:
            KeyError: the app has no such function.
        """
        request = request_datum(method=method, url=url, headers=headers, body=body, route_params=route_params or {})
        try:
            returned = await self._worker.run(self.functions[function], request)
        except InvocationFailedError:
            return Answer(500)
        return answer_of(returned)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: route, check the key, read the body, invoke."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        try:
            answer = await self._serve(scope, receive)
        except UnicodeDecodeError:
            answer = Answer(400)
        except ConnectionError:
            return
        bodiless = answer.status in {204, 304}
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if not bodiless:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if bodiless else answer.body})

    async def _serve(self, scope: Scope, receive: Receive) -> Answer:
        raw_path: str = scope["raw_path"].decode("ascii")
        query: str = scope["query_string"].decode("latin-1")
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        path = decoded_path(raw_path)
        if re.match("/admin(/|$)", path, re.IGNORECASE):
            return await self._administer(scope["method"], path, presented_key(headers, query), receive)
        found = self._router.match(scope["method"], path)
        if found is None:
            return _homepage() if path == "/" else NOT_FOUND
        function, route_params = found
        required = self._levels[function]
        if required and self._ring.level(presented_key(headers, query), function) < required:
            return Answer(401)
        body = await _read(receive)
        if body is None:
            return Answer(413)
        if not _has_length(headers):
            body = b""
        authority = next((value for name, value in headers if name == "host"), HOST)
        url = f"{scope['scheme']}://{authority}{encoded_path(path)}{'?' if query else ''}{query}"
        return await self.invoke(
            function, method=scope["method"], url=url, headers=headers, body=body, route_params=route_params
        )

    async def _administer(self, method: str, path: str, key: str, receive: Receive) -> Answer:
        # No key is asked for where no route is, such as /admin/warmup, which Flex Consumption does not map.
        # Source: BuildRoutes in WebScriptHostHttpRoutesManager.
        if not (path.lower() == STATUS or FUNCTION.fullmatch(path) or self._key_api.has(path)):
            return NOT_FOUND
        level = self._ring.level(key)
        if level is not Level.ADMIN:
            # A known key of a lower level is forbidden, an unknown key unauthorized.
            return Answer(401 if level is Level.ANONYMOUS else 403)
        if (method, path.lower()) == ("GET", STATUS):
            return _json(200, {"state": "Running"})
        body = await _read(receive)
        if body is None:
            return Answer(413)
        if method == "POST" and (asked := FUNCTION.fullmatch(path)):
            return self._run_now(asked[1], body)
        return _json(*self._key_api.answer(method, path, body))

    def _run_now(self, name: str, body: bytes) -> Answer:
        """Start a timer function without waiting for it; HTTP functions have their own addresses.

        Source: https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
        """
        try:
            is_object = isinstance(json.loads(body), dict)
        except ValueError:
            is_object = False
        if not is_object:
            return Answer(400)
        found = next((each for each in self.functions if each.lower() == name.lower()), "")
        return Answer(202) if self._timers.run_now(found) else NOT_FOUND

    def _routes(self, settings: Mapping[str, Any]) -> Iterable[Route]:
        """Compile the routes of all HTTP functions; one with an invalid route is logged and left out."""
        prefix = _at(settings, "extensions", "http", "routePrefix")
        for function in self.functions.values():
            if function.trigger != HTTP_TRIGGER:
                continue
            template = f"{'api' if prefix is None else prefix}/{function.binding.get('route') or function.name}"
            try:
                yield compile_route(function.name, template, function.binding.get("methods"))
            except ValueError as error:
                self._log.tell(str(error))


def _timers(worker: Worker, log: WorkerLog, *, now: dt.datetime) -> Iterable[Timer]:
    """Read the timers; one with an invalid schedule is logged and left out, as in Azure."""
    for function in worker.functions.values():
        if function.trigger != TIMER_TRIGGER:
            continue
        try:
            yield Timer.of(function.name, function.binding, os.environ, now=now)
        except ValueError as error:
            log.tell(f"The '{function.name}' function is in error: {error}")


async def _run_timer(worker: Worker, name: str, trigger: str) -> None:
    with suppress(InvocationFailedError):  # the log has the reason, and the timer continues
        await worker.run(worker.functions[name], Datum(trigger, "json"))


def _homepage() -> Answer:
    """Answer a request to `/` that no function takes, whatever its method.

    Source: HomepageMiddleware, and
    https://learn.microsoft.com/azure/azure-functions/functions-app-settings#azurewebjobsdisablehomepage
    """
    if os.environ.get("AzureWebJobsDisableHomepage", "").lower() == "true":  # noqa: SIM112  # Microsoft's name
        return Answer(204)
    return Answer(200, [("content-type", "text/html")], HOMEPAGE)


def _required(binding: Mapping[str, Any]) -> Level:
    return Level[str(binding.get("authLevel", "function")).upper()]


def _log_level(settings: Mapping[str, Any]) -> int:
    name = _at(settings, "logging", "logLevel", "default") or "Information"
    level = LEVELS.get(str(name).lower())
    if level is None:
        raise ValueError(f"host.json: logging.logLevel.default: {name!r} is no level")
    return level


def _at(settings: Mapping[str, Any], *path: str) -> object:
    """Return the value at these keys of host.json, or None."""
    found: Any = settings
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _json(status: int, content: Mapping[str, Any] | None) -> Answer:
    if content is None:
        return Answer(status)
    return Answer(status, [("content-type", "application/json; charset=utf-8")], json.dumps(content).encode())


def _has_length(headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether the length of the body is announced: the real host hands on no other body, a chunked one neither.

    Source: `ToRpcHttp` in GrpcMessageConversionExtensions.
    """
    return any(name == "content-length" and int(value) > 0 for name, value in headers)


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None for one over the limit.

    Raises:
        ConnectionError: the client disconnected before the end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            return bytes(body)
