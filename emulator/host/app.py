"""The local Functions host: serves a function app over HTTP as Azure Functions does, with the same keys and log.

`python -m emulator.host --app DIR --port 7071 --keys FILE` is one process with one worker. What the real host adds to a
request or takes from it is done here too, for an app must not learn of it only in Azure.
Source: https://github.com/Azure/azure-functions-host (named at each rule).
"""

import argparse
import asyncio
import datetime as dt
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from azure_functions_runtime.bindings.datumdef import Datum
from starlette.types import Receive, Scope, Send

from emulator.host.http_binding import Answer, answer_of, decoded_path, encoded_path, presented_key, request_datum
from emulator.host.key_api import KeyApi
from emulator.host.keys import KeyFile, KeyRing, Level
from emulator.host.routes import Route, Router, compile_route
from emulator.host.timer import StatusFile, Timer, Timers
from emulator.host.worker import InvocationFailedError, Worker
from emulator.host.worker_log import LEVELS, WorkerLog
from emulator.network.serve import HOST, listening_socket

HTTP_TRIGGER = "httpTrigger"
TIMER_TRIGGER = "timerTrigger"
FUNCTION = re.compile("/admin/functions/([^/]+)", re.IGNORECASE)
BODY_LIMIT = 104_857_600  # bytes: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#limits
SECONDS_TO_FINISH = 5
KEEP_ALIVE_SECONDS = 130  # as Kestrel has it
NOT_FOUND = Answer(404)


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
        """Load the app of a folder and start its timers; the process's environment is its settings.

        Args:
            app_dir: has host.json and function_app.py.
            keys: the key store, made when it is not there; beside it the status of the timers is kept.
            now: the clock of the key cache and of the timers, in UTC.
            log: takes every line that a reader of the app's log would see.
            sleep: waits so many seconds by that clock, or less.

        Raises:
            ValueError: host.json, the key store or the timers' status can not be read.
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
        """Stop the timers, let go of the app and of the process's log."""
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
        """Run one HTTP function, past routing and keys; a failure is an empty 500, its reason in the log alone.

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
        """Be the ASGI application: route, check the key, read the body, invoke."""
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
            return NOT_FOUND
        function, route_params = found
        required = self._levels[function]
        if required and self._ring.level(presented_key(headers, query), function) < required:
            return Answer(401)
        body = await _read(receive)
        if body is None:
            return Answer(413)
        authority = next((value for name, value in headers if name == "host"), HOST)
        url = f"{scope['scheme']}://{authority}{encoded_path(path)}{'?' if query else ''}{query}"
        return await self.invoke(
            function, method=scope["method"], url=url, headers=headers, body=body, route_params=route_params
        )

    async def _administer(self, method: str, path: str, key: str, receive: Receive) -> Answer:
        level = self._ring.level(key)
        if level is not Level.ADMIN:
            # A key that is good for something else is known, and forbidden.
            return Answer(401 if level is Level.ANONYMOUS else 403)
        if (method, path.lower()) == ("GET", "/admin/host/status"):
            return _json(200, {"state": "Running"})
        body = await _read(receive)
        if body is None:
            return Answer(413)
        if method == "POST" and (asked := FUNCTION.fullmatch(path)):
            return self._run_now(asked[1], body)
        return _json(*self._key_api.answer(method, path, body))

    def _run_now(self, name: str, body: bytes) -> Answer:
        """Start a timer function and do not wait for it; an HTTP function has an address of its own.

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
        """Compile the routes of all HTTP functions; a function with a bad one is left out and the log says so."""
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
    """Read the timers; a function with a bad schedule is left out and the log says so, as in Azure."""
    for function in worker.functions.values():
        if function.trigger != TIMER_TRIGGER:
            continue
        try:
            yield Timer.of(function.name, function.binding, os.environ, now=now)
        except ValueError as error:
            log.tell(f"The '{function.name}' function is in error: {error}")


async def _run_timer(worker: Worker, name: str, trigger: str) -> None:
    with suppress(InvocationFailedError):  # the log has the reason, and the timer goes on
        await worker.run(worker.functions[name], Datum(trigger, "json"))


def _required(binding: Mapping[str, Any]) -> Level:
    return Level[str(binding.get("authLevel", "function")).upper()]


def _log_level(settings: Mapping[str, Any]) -> int:
    name = _at(settings, "logging", "logLevel", "default") or "Information"
    level = LEVELS.get(str(name).lower())
    if level is None:
        raise ValueError(f"host.json: logging.logLevel.default: {name!r} is no level")
    return level


def _at(settings: Mapping[str, Any], *path: str) -> object:
    """Follow keys into host.json; what is not there is None."""
    found: Any = settings
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _json(status: int, content: Mapping[str, Any] | None) -> Answer:
    if content is None:
        return Answer(status)
    return Answer(status, [("content-type", "application/json; charset=utf-8")], json.dumps(content).encode())


async def _read(receive: Receive) -> bytes | None:
    """Read a whole body; None when it is over the limit.

    Raises:
        ConnectionError: the client left before the end.
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


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            sys.stdout.write(f"Functions host: http://{HOST}:{sock.getsockname()[1]}\n")
        sys.stdout.flush()


async def _serve(options: argparse.Namespace, sock: socket.socket, log: Callable[[str], object]) -> None:
    try:
        host = await Host.load(options.app, keys=options.keys, now=lambda: dt.datetime.now(dt.UTC), log=log)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    with host:
        config = uvicorn.Config(
            host,
            proxy_headers=False,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
        )
        # uvicorn stops on either signal and then raises it again for whoever else listens: nobody does.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        await _Server(config).serve(sockets=[sock])
        log(f"Stopped; dropped {host.dropped_lines} log lines that belonged to no running invocation")


def _enter(app_dir: Path) -> None:
    """Make the folder the current one, and local.settings.json part of the environment, which wins."""
    file = app_dir / "local.settings.json"
    if file.exists():
        for name, value in json.loads(file.read_text()).get("Values", {}).items():
            os.environ.setdefault(name, value)
    os.chdir(app_dir)


def main() -> None:
    """Serve one app until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m emulator.host", description="A local Azure Functions host.")
    parser.add_argument("--app", type=lambda text: Path(text).resolve(), required=True, help="folder of host.json")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument(
        "--keys", type=lambda text: Path(text).resolve(), required=True, help="key store; made if absent"
    )
    parser.add_argument("--log", type=lambda text: Path(text).resolve(), help="file for the app's log (else stderr)")
    options = parser.parse_args()
    if not (options.app / "host.json").is_file():
        parser.error(f"{options.app} has no host.json")
    with ExitStack() as stack:
        try:
            sock = stack.enter_context(listening_socket(options.port))
        except OSError as error:
            parser.error(f"port {options.port}: {error.strerror}")
        stream = stack.enter_context(options.log.open("a", buffering=1)) if options.log else sys.stderr
        _enter(options.app)
        asyncio.run(_serve(options, sock, lambda line: stream.write(f"{line}\n")))
