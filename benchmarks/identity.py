"""What an identity token costs: a caller by its token beside the same caller by its key, and a stranger's forgery.

Each token is of the size of a managed identity's. A token that was not seen before costs one signature; RS256 and ES256
are measured, and the slower one is reported.
"""

import asyncio
import base64
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.handler import quiet_log, warm_vendor
from benchmarks.ours import SCOPE
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MICRO, by_turns, medians
from shared.api.routes import ENTRA, FUNCTION_KEY, OAUTH, Route
from shared.api.vendor import Vendor
from shared.callers.recognition import VERIFIED
from shared.core.documents.issuers import IssuerSettings
from shared.core.request import ASSERTION_TYPE, BODY_LIMIT, Incoming
from tests.signer import AUDIENCE, URL, claims_of, inline_key, signed

BY_KEY = "by its key"
ONE_BYTE = "401, body of one byte"
CALLERS = """\
[callers.billing]
key_sha256 = ["{digest}"]
identity = [{{ issuer = "cluster", subject = "billing" }}]
allow = [{{ profile = "graph", scopes = ["{scope}"] }}]
"""
ISSUER = IssuerSettings(name="cluster", issuer=URL, audience=AUDIENCE, keys=(inline_key("rsa"), inline_key("ec")))
PADDING = "x" * 600
"""Of a claim, by which a token is as long as Entra's."""
MEDIA = {"content-type": "application/x-www-form-urlencoded"}
FORM = urlencode({"grant_type": "client_credentials", "scope": SCOPE}).encode()
TENANT = "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60"


def rows(scale: Scale) -> list[Row]:
    """Time callers by token and by key, and take the CPU of forgeries."""
    key, times = secrets.token_urlsafe(40), scale.pick(2_000, 5)
    with quiet_log(), tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool, asyncio.Runner() as loop:
        vendor = warm_vendor(
            key, Path(folder), pool, app_checked_routes=True, issuer=ISSUER, callers=f"generation = 1\n{CALLERS}"
        )
        by_key = _by_key(key)
        for sent in (by_key, _by_token(key, _token("rsa")), _by_token(key, _token("ec"))):
            assert loop.run(vendor.answer(FUNCTION_KEY, sent)).status == 200

        def timed(route: Route, sent: Callable[[], Sequence[Incoming]]) -> Callable[[], float]:
            return lambda: loop.run(_cpu(vendor, route, sent()))

        seen = [_by_token(key, _token("rsa"))] * times
        usual = [by_key] * times
        contenders = {BY_KEY: timed(FUNCTION_KEY, lambda: usual), "seen": timed(FUNCTION_KEY, lambda: seen)}
        contenders |= {
            kind: timed(FUNCTION_KEY, lambda kind=kind: _new(key, kind, times))  # type: ignore[misc]  # a default
            for kind in ("rsa", "ec")
        }
        contenders |= {
            f"forged {kind} {route.name}": timed(route, lambda kind=kind, route=route: _forged(route, kind, times))  # type: ignore[misc]
            for kind in ("rsa", "ec")
            for route in (OAUTH, ENTRA)
        }
        contenders |= {
            f"{ONE_BYTE} {route.name}": timed(route, lambda: [_post(b"x")] * times) for route in (OAUTH, ENTRA)
        }
        took = medians(by_turns(contenders, scale))
    return list(_rows(took))


def _rows(took: Mapping[str, float]) -> Iterator[Row]:
    new = max(took["rsa"], took["ec"])
    for row_id, what, ours, bound in (
        ("token-seen", "Known caller by a token that was seen before: more than by its key", took["seen"], 30),
        ("token-new", "The same by a token that was not: RS256 or ES256, the slower one", new, 150),
    ):
        figures = {VEND: ours - took[BY_KEY], BY_KEY: took[BY_KEY]}
        yield compared(figures, row_id, what=what, unit="us", against=BY_KEY, goal=Goal("ours", "<=", bound))
    forged = max(figure for name, figure in took.items() if name.startswith("forged"))
    refused = max(figure for name, figure in took.items() if name.startswith(ONE_BYTE))
    yield compared(
        {VEND: forged, ONE_BYTE: refused},
        "token-forged",
        what="Forged token with a known subject in a 16 KiB body, on the slower of its two routes: CPU",
        unit="us",
        against=ONE_BYTE,
        goal=Goal("ours", "<=", 200),
    )


def _token(kind: str, **others: str) -> str:
    now = time.time()
    return signed(claims_of("billing", now, exp=int(now) + 86_400, aio=PADDING, **others), key=kind)


def _by_key(key: str) -> Incoming:
    return Incoming("POST", "https://vend.example/api/token", {**MEDIA, "x-functions-key": key}, FORM)


def _by_token(key: str, token: str) -> Incoming:
    headers = {**MEDIA, "x-functions-key": key, "authorization": f"Bearer {token}"}
    return Incoming("POST", "https://vend.example/api/token", headers, FORM)


def _post(body: bytes) -> Incoming:
    return Incoming("POST", f"https://vend.example/api/entra/{TENANT}/oauth2/v2.0/token", MEDIA, body)


def _new(key: str, kind: str, times: int) -> list[Incoming]:
    """Make requests with tokens of which each was not seen, or has been forgotten since."""
    tokens = [_token(kind, jti=str(turn)) for turn in range(min(times, 2 * VERIFIED))]
    return [_by_token(key, token) for token, _ in zip(cycle(tokens), range(times), strict=False)]


def _forged(route: Route, kind: str, times: int) -> list[Incoming]:
    """Make requests with a good token whose signature is another one each time, in a body as large as is read."""
    content, _, signature = _token(kind).rpartition(".")
    size = len(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    made = []
    for _ in range(times):
        forged = base64.urlsafe_b64encode(b"\x00" + secrets.token_bytes(size - 1)).rstrip(b"=").decode()
        fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": f"{content}.{forged}"}
        form = FORM + b"&" + urlencode(fields).encode() + b"&padding="
        made.append(_post(form + b"x" * (BODY_LIMIT - len(form))))
    assert route is not FUNCTION_KEY
    return made


async def _cpu(vendor: Vendor, route: Route, sent: Sequence[Incoming]) -> float:
    """Return the CPU of one answer in microseconds."""
    began = time.process_time()
    for incoming in sent:
        await vendor.answer(route, incoming)
    return (time.process_time() - began) / len(sent) * MICRO
