"""A Functions host as far as keys go: its key API, its cache of keys, and behind them an app that takes no request."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.host.key_api import KeyApi
from emulator.host.keys import KeyFile, KeyRing, Level


class KeyHost:
    """Serves `app` with the local host's own parts, without a runtime; `before` happens before each change of a key."""

    before: Callable[[], object]

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._api = KeyApi(file, ())
        self.before = lambda: None
        self.seconds = time.time()
        self._ring = KeyRing(file, now=lambda: datetime.fromtimestamp(self.seconds, UTC))
        self.app = Starlette(
            routes=[
                Route("/admin/{path:path}", self._administer, methods=["GET", "POST", "PUT", "DELETE"]),
                Route("/api/token", self._token, methods=["POST"]),
            ]
        )

    def accepts(self, key: str) -> bool:
        """Tell whether a host that has just started lets a key in."""
        return self._file.read().level(key, "token") is Level.FUNCTION

    async def _administer(self, request: Request) -> Response:
        if request.headers.get("x-functions-key") != self._file.read().master:
            return Response(status_code=401)
        if request.method != "GET":
            self.before()
        status, body = self._api.answer(request.method, request.url.path, await request.body())
        return Response(status_code=status) if body is None else JSONResponse(body, status_code=status)

    async def _token(self, request: Request) -> Response:
        if self._ring.level(request.headers.get("x-functions-key", ""), "token") < Level.FUNCTION:
            return Response(status_code=401)
        return JSONResponse({"error": "invalid_request", "correlation_id": "c-1"}, status_code=400)
