"""Target 10: a request for a cached token, from its bytes to its answer, without the runtime around it."""

import asyncio
import hashlib
import json
import logging
import secrets
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from benchmarks.bare_entra import LIFETIME, access_token
from benchmarks.ours import KEY, LIMITS, SCOPE, token_cache
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import by_turns, each_awaited, medians
from shared.adapters.file import FileSource
from shared.api.answers import Answer
from shared.api.routes import FUNCTION_KEY
from shared.api.vendor import Vendor
from shared.callers.issuer_keys import IssuerKeys
from shared.callers.live import Callers
from shared.callers.recognition import Recognition
from shared.core.documents.issuers import IssuerSettings
from shared.core.policy import Deployment, Offer
from shared.core.request import Incoming
from shared.core.token import AccessToken, Acquired, TokenSource, Wanted
from shared.core.verification_keys import KeySet
from shared.system import System
from shared.telemetry.events import Events, log_line

PLAIN = "plain handler"
HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}
CALLERS = """\
generation = 1
[callers.billing]
key_sha256 = ["{digest}"]
allow = [{{ profile = "graph", scopes = ["{scope}"] }}]
"""

type Handler = Callable[[Incoming], Coroutine[Any, Any, Answer]]


def rows(scale: Scale) -> list[Row]:
    """Time a warm request."""
    times = scale.pick(5_000, 10)
    key = secrets.token_urlsafe(40)
    incoming = Incoming(
        method="POST",
        url="https://vend.example/api/token",
        headers={"x-functions-key": key, "content-type": "application/x-www-form-urlencoded", "accept": "*/*"},
        body=urlencode({"grant_type": "client_credentials", "scope": SCOPE}).encode(),
    )
    with (
        quiet_log(),
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(1) as pool,
        asyncio.Runner() as runner,
    ):
        vendor = warm_vendor(key, Path(folder), pool, app_checked_routes=False)
        handlers: dict[str, Handler] = {VEND: partial(vendor.answer, FUNCTION_KEY), PLAIN: _plain(key)}
        for handler in handlers.values():
            answer = runner.run(handler(incoming))
            assert answer.status == 200
        contenders = {name: _timed(runner, partial(handler, incoming), times) for name, handler in handlers.items()}
        took = medians(by_turns(contenders, scale))
    return [
        compared(
            took,
            row_id="handler",
            what="Warm request in process, beside one that splits the form, hashes the key, logs a line and answers",
            unit="us",
            against=PLAIN,
            goal=Goal("ratio", "<=", 1.5),
        )
    ]


def _timed(runner: asyncio.Runner, call: Callable[[], Awaitable[object]], times: int) -> Callable[[], float]:
    return lambda: runner.run(each_awaited(call, times))


def warm_vendor(
    key: str,
    folder: Path,
    pool: Executor,
    *,
    app_checked_routes: bool,
    issuer: IssuerSettings | None = None,
    callers: str = CALLERS,
) -> Vendor:
    """Put together what answers requests for tokens, with one caller.

    Args:
        issuer: whose identity tokens prove callers; one with inline keys.
        callers: the callers document, in which the hash of the key and the scope are put.
        key: of the caller.
        folder: for its callers document.
        pool: where that is read.
        app_checked_routes: whether the routes are open whose keys the app alone checks.
    """
    offers = {KEY.profile: Offer(tenants=(KEY.tenant_id,), scopes=(KEY.scope,), client_id="", vendable=True)}
    file = folder / "callers.toml"
    file.write_text(callers.format(digest=hashlib.sha256(key.encode()).hexdigest(), scope=SCOPE))
    secret, system = access_token(), System()

    async def acquire(_: Wanted) -> Acquired:
        token = AccessToken(secret=secret, asked=system.clock(), lifetime=LIFETIME, refresh_after=LIFETIME / 2)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)

    events = Events(log_line, wall=time.time, worker="bench")
    issuers = [issuer] if issuer else []
    live = Callers(
        FileSource(file, pool=pool),
        Deployment(offers, {each.name: each.trusted.tenant_id for each in issuers}),
        pool=pool,
        limits=LIMITS,
        clock=system.clock,
        events=events,
        on_new_generation=lambda: None,
    )
    return Vendor(
        callers=Recognition(
            live,
            issuers={each.issuer: each.trusted for each in issuers},
            keys={
                each.name: IssuerKeys(
                    each.name, partial(_inline, each), limits=LIMITS, clock=system.clock, events=events
                )
                for each in issuers
            },
            clock=system.clock,
        ),
        tokens=token_cache(acquire, system=system),
        offers=offers,
        app_checked_routes=app_checked_routes,
        limits=LIMITS,
        system=system,
        events=events,
    )


async def _inline(issuer: IssuerSettings) -> KeySet:
    return issuer.key_set


def _plain(key: str) -> Handler:
    """Write what one would write by hand: a dictionary of callers, one of tokens, and the same answer."""
    callers = {hashlib.sha256(key.encode()).hexdigest(): "billing"}
    token = access_token()
    tokens = {SCOPE: (token, time.time() + LIFETIME, hashlib.sha256(token.encode()).hexdigest()[:12])}
    log = logging.getLogger("vend")

    async def handler(incoming: Incoming) -> Answer:
        correlation_id = str(uuid.uuid4())
        fields = parse_qs(incoming.body.decode())
        scope = fields["scope"][0]
        caller = callers[hashlib.sha256(incoming.headers["x-functions-key"].encode()).hexdigest()]
        secret, expires_on, fingerprint = tokens[scope]
        left = int(expires_on - time.time())
        event = {
            "event": "token",
            "correlation_id": correlation_id,
            "caller": caller,
            "tenant_id": KEY.tenant_id,
            "scope": scope,
            "status": 200,
            "token": fingerprint,
            "expires_on": int(expires_on),
        }
        log.info("%s", json.dumps(event))
        body = {
            "token_type": "Bearer",
            "access_token": secret,
            "expires_in": left,
            "expires_on": int(expires_on),
            "refresh_in": left // 2,
            "scope": scope,
            "token_source": "cache",
            "correlation_id": correlation_id,
        }
        return Answer(200, HEADERS, json.dumps(body).encode())

    return handler


@contextmanager
def quiet_log() -> Iterator[None]:
    """Format every line and write it nowhere: what a log costs on the way belongs to both."""
    log = logging.getLogger("vend")
    sink = logging.StreamHandler(_Nowhere())
    before, log.propagate = (log.level, log.propagate), False
    log.setLevel(logging.INFO)
    log.addHandler(sink)
    try:
        yield
    finally:
        log.removeHandler(sink)
        log.setLevel(before[0])
        log.propagate = before[1]


class _Nowhere(StringIO):
    def write(self, text: str) -> int:
        """Keep nothing."""
        return len(text)
