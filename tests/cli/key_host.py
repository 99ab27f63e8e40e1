"""A Functions host as far as keys go, and behind it an app that takes no request, with the readiness of its workers."""

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.host.key_api import KeyApi
from emulator.host.keys import KeyFile, KeyRing, Level

WORKERS = ("0a0a0a0a", "1b1b1b1b", "2c2c2c2c")


class Workers:
    """The workers of an app, as their readiness shows them; each request meets the next one.

    Args:
        document: returns the callers document as it lies in its place.
        names: the id of each worker.
    """

    def __init__(self, document: Callable[[], bytes | None], names: Sequence[str] = WORKERS) -> None:
        self.document = document
        self.old: bytes | None = None
        """The document of a worker that does not go by the one in its place."""
        self.stuck: set[str] = set()
        """Workers that cannot read the document."""
        self.refuses = False
        self.is_older = False
        self.refused = 0
        self.generation = 1
        self.mistakes: list[dict[str, str]] = []
        self._next = itertools.cycle(names)

    def ready(self) -> Response:
        """Answer as the next worker."""
        worker, newest = next(self._next), self.document()
        if worker in self.stuck:
            newest = self.old
        in_force = self.old if self.refuses else newest
        callers = {
            "in_force": _digest(in_force),
            "newest": _digest(newest),
            "refused": self.refused,
            "generation": self.generation,
        }
        body = {"status": "ready", "checks": [], "correlation_id": "c-1"}
        return JSONResponse(body if self.is_older else {**body, "worker": worker, "callers": callers})

    def doctor(self) -> Response:
        """Answer an admin caller."""
        return JSONResponse({"mistakes": self.mistakes, "checks": [], "correlation_id": "c-1"})


def _digest(document: bytes | None) -> str | None:
    return None if document is None else hashlib.sha256(document).hexdigest()[:12]


class KeyHost:
    """Serves `app` with the local host's own parts, without a runtime; `before` happens before each change of a key."""

    before: Callable[[], object]

    def __init__(self, file: KeyFile, workers: Workers) -> None:
        self.workers = workers
        self._file = file
        self._api = KeyApi(file, ())
        self.before = lambda: None
        self.token: Callable[[Mapping[str, str]], str | None] = lambda _: None
        """Returns the token that a request for one gets; None for a refusal."""
        self.seconds = time.time()
        self._ring = KeyRing(file, now=lambda: datetime.fromtimestamp(self.seconds, UTC))
        self.app = Starlette(
            routes=[
                Route("/admin/{path:path}", self._administer, methods=["GET", "POST", "PUT", "DELETE"]),
                Route("/api/token", self._token, methods=["POST"]),
                Route("/api/health/ready", self._ready, methods=["GET"]),
                Route("/api/doctor", self._doctor, methods=["GET"]),
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

    def _lets_in(self, request: Request) -> bool:
        return self._ring.level(request.headers.get("x-functions-key", ""), "token") >= Level.FUNCTION

    async def _ready(self, request: Request) -> Response:
        return self.workers.ready() if self._lets_in(request) else Response(status_code=401)

    async def _doctor(self, request: Request) -> Response:
        return self.workers.doctor() if self._lets_in(request) else Response(status_code=401)

    async def _token(self, request: Request) -> Response:
        if not self._lets_in(request):
            return Response(status_code=401)
        form = dict(parse_qsl((await request.body()).decode()))
        if token := self.token(form):
            return JSONResponse({"access_token": token, "correlation_id": "c-1"})
        return JSONResponse({"error": "invalid_request", "correlation_id": "c-1"}, status_code=400)
