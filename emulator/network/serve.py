"""Serves ASGI applications on loopback, from one background thread that a test or `make run` starts and stops."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
SECONDS_TO_START = 10.0


def listening_socket(port: int = 0) -> socket.socket:
    """Bind a loopback port; 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    # asyncio turns Nagle's algorithm off for sockets that name TCP alone; with it, answers wait 40 ms for an ACK.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


class Dated:
    """ASGI middleware: sets `Date` (RFC 9110 section 6.6.1) by the clock of the cloud, which a test may hold."""

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self._app = app
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("date", formatdate(self._now(), usegmt=True))
            await send(message)

        await self._app(scope, receive, dated)


class Background(AbstractContextManager["Background"]):
    """One event loop in one thread; every application served by it shares the loop, and the clock of their `Date`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-cloud", daemon=True)
        self._thread.start()
        self._servers: list[tuple[uvicorn.Server, asyncio.Future[None]]] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def serve(self, app: ASGIApp, *, tls: ssl.SSLContext | None = None, port: int = 0) -> int:
        """Serve one application, over TLS when it has a context, and return its port once it listens.

        Raises:
            OSError: the port is taken.
        """
        sock = listening_socket(port)
        self.run(self._start(app, tls, sock))
        bound: int = sock.getsockname()[1]
        return bound

    async def _start(self, app: ASGIApp, tls: ssl.SSLContext | None, sock: socket.socket) -> None:
        config = uvicorn.Config(
            Dated(app, self._now),
            http="h11",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            ssl_context_factory=(lambda *_: tls) if tls else None,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        task = asyncio.ensure_future(server.serve(sockets=[sock]))
        async with asyncio.timeout(SECONDS_TO_START):
            while not server.started:
                if task.done():
                    task.result()
                await asyncio.sleep(0.005)
        self._servers.append((server, task))

    async def _stop(self) -> None:
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._servers))
