"""Target 15: what a request without a known caller costs, with the most expensive body that was found.

The route is `POST /api/oauth2/token`: there the app alone checks the key, which comes by HTTP Basic or in the form. The
body is found by trying: each piece alone, and mixtures of them, at the largest size that is read. The baseline is what
every wrong key costs, whatever the body: it is read, looked for, and refused. A request without any credentials, for
which nothing is looked for, stands beside it.
"""

import asyncio
import random
import secrets
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.handler import quiet_log, warm_vendor
from benchmarks.ours import SCOPE
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MICRO, MILLI, by_turns, medians, share
from shared.api.routes import FUNCTION_KEY, OAUTH
from shared.api.vendor import Vendor
from shared.core.request import BODY_LIMIT, Incoming

ONE_BYTE = "401 of a wrong key, body of one byte"
NO_KEY = "401 of no key, body of one byte"
ALONE = "without strangers"
SEED = 15
PIECES = (
    "%&", "&", "%", "=", "%41&", "%41", "%FF&", "a=1&", "client_id=%41&", "client_secret=%41&", "client%5Fsecret=%41&",
    "client_id=" + "%41" * 170 + "&", "client_secret=" + "%41" * 170 + "&", "&client_id=a&client_secret=" + "%41" * 171,
    "client_id=billing&client_secret=" + "x" * 512 + "&", "client_idx=" + "x" * 490 + "&",
    "grant_type=client_credentials&", "scope=%2f&", "+", ";", "x",
    "\xff", "a" * 32 + "=&", "%" * 32 + "=&",
)  # fmt: skip
CACHED_PER_SECOND, STRANGERS_PER_SECOND = 500, 200


def rows(scale: Scale) -> list[Row]:
    """Take the CPU of a stranger's request, and see what cached answers notice of 200 of them a second."""
    key = secrets.token_urlsafe(40)
    with quiet_log(), tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool, asyncio.Runner() as loop:
        vendor = warm_vendor(key, Path(folder), pool, app_checked_routes=True)
        cached = _cached(key)
        basic = "Basic " + b64encode(b"billing:" + secrets.token_urlsafe(40).encode()).decode()
        one, without = _stranger(b"x", basic), _stranger(b"x", None)
        assert loop.run(vendor.answer(FUNCTION_KEY, cached)).status == 200
        assert loop.run(vendor.answer(OAUTH, one)).status == loop.run(vendor.answer(OAUTH, without)).status == 401
        times = scale.pick(2_000, 5)

        def cpu(incoming: Incoming, times: int = times) -> Callable[[], float]:
            return lambda: loop.run(_cpu(vendor, incoming, times))

        def least(incoming: Incoming) -> float:
            return min(cpu(incoming, scale.pick(40, 1))() for _ in range(scale.pick(5, 1)))

        worst = max((_stranger(body, shown) for body in _bodies(scale) for shown in (basic, None)), key=least)
        took = medians(by_turns({VEND: cpu(worst), ONE_BYTE: cpu(one), NO_KEY: cpu(without)}, scale))
        seconds = scale.pick(5, 1) / scale.pick(1, 20)
        waits = medians(
            by_turns(
                {
                    VEND: lambda: loop.run(_p99(vendor, cached, worst, seconds)),
                    ALONE: lambda: loop.run(_p99(vendor, cached, None, seconds)),
                },
                scale,
            )
        )
    what = "Request of a stranger, the most expensive 16 KiB body found: CPU"
    return [
        compared(took, "strangers", what=what, unit="us", against=ONE_BYTE, goal=Goal("ratio", "<=", 1.5)),
        compared(
            took, "strangers-cpu", what="The same, by itself", unit="us", against=ONE_BYTE, goal=Goal("ours", "<=", 200)
        ),
        compared(
            waits,
            "strangers-p99",
            what=f"Cached answers ({CACHED_PER_SECOND}/s) beside {STRANGERS_PER_SECOND} such requests a second: p99",
            unit="ms",
            against=ALONE,
            goal=Goal("ours", "<=", 50),
        ),
    ]


def _cached(key: str) -> Incoming:
    form = urlencode({"grant_type": "client_credentials", "scope": SCOPE}).encode()
    headers = {"x-functions-key": key, "content-type": "application/x-www-form-urlencoded"}
    return Incoming("POST", "https://vend.example/api/token", headers, form)


def _stranger(body: bytes, basic: str | None) -> Incoming:
    headers = {"content-type": "application/x-www-form-urlencoded"} | ({"authorization": basic} if basic else {})
    return Incoming("POST", "https://vend.example/api/oauth2/token", headers, body)


def _bodies(scale: Scale) -> Iterator[bytes]:
    """Make bodies of the largest size that is read."""
    dice = random.Random(SEED)  # no secret is made of it
    mixtures = (dice.choices(PIECES, k=dice.randint(2, 40)) for _ in range(scale.pick(400, 3)))
    for pieces in (*((piece,) for piece in PIECES), *mixtures):
        whole = "".join(pieces).encode("latin-1")
        yield (whole * (BODY_LIMIT // len(whole) + 1))[:BODY_LIMIT]


async def _cpu(vendor: Vendor, incoming: Incoming, times: int) -> float:
    """Return the CPU of one answer in microseconds."""
    began = time.process_time()
    for _ in range(times):
        await vendor.answer(OAUTH, incoming)
    return (time.process_time() - began) / times * MICRO


async def _p99(vendor: Vendor, cached: Incoming, stranger: Incoming | None, seconds: float) -> float:
    """Return the p99 of cached answers in milliseconds, each from the moment at which it was due."""
    waits: list[float] = []

    async def ask_on_time(end: float) -> None:
        moment = time.perf_counter()
        while moment < end:
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            await vendor.answer(FUNCTION_KEY, cached)
            waits.append(time.perf_counter() - moment)
            moment += 1 / CACHED_PER_SECOND

    async def disturb(incoming: Incoming, end: float) -> None:
        moment = time.perf_counter()
        while moment < end:
            await vendor.answer(OAUTH, incoming)
            moment += 1 / STRANGERS_PER_SECOND
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))

    end = time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(ask_on_time(end))
        if stranger is not None:
            group.create_task(disturb(stranger, end))
    return share(waits, 0.99) * MILLI
