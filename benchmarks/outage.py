"""Target 1: Entra is away for half an hour. Whom is a token served from what is kept?

Nothing waits here: vend runs on a clock that is handed in, and the time that MSAL reads is moved by `time-machine`.
Both see the same keys, the same lifetimes and the same moments of asking; both have run for hours when Entra goes.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msal
import requests
import time_machine

from benchmarks.bare_entra import access_token
from benchmarks.ours import LIMITS, OneClock, token_cache
from benchmarks.rows import MSAL, VEND, Goal, Row, Scale, compared
from emulator.seed import CLIENT_ID, TENANT_ID
from shared.core.errors import Unavailable, VendError
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted, refresh_after
from shared.system import System

SEED = 20_260
MINUTE = 60
GONE = 1_800_000_000  # when Entra goes, in seconds since the epoch
AWAY = 30 * MINUTE
BEFORE = 180 * MINUTE  # long enough for every token to have been replaced
KEYS = 1_000
EVERY = (2, 10, 20, 40)  # minutes between two askings for one key
LIFETIMES = (
    60 * MINUTE,
    90 * MINUTE,
)  # https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes
AUTHORITY = f"https://entra.invalid/{TENANT_ID}"


class Asking(NamedTuple):
    """Somebody asks for a key."""

    at: float
    scope: str


def rows(scale: Scale) -> list[Row]:
    """Tell the share of askings during the outage that got a token."""
    keys = scale.pick(KEYS, 10)
    return [_row(minutes, keys) for minutes in EVERY]


def _row(minutes: int, keys: int) -> Row:
    askings = sorted(_askings(minutes * MINUTE, keys))
    the_promise = minutes == EVERY[0]
    return compared(
        {VEND: asyncio.run(_vend(askings)), MSAL: _msal(askings)},
        row_id="outage" if the_promise else f"outage-{minutes}",
        what=f"{keys:,} tokens, each asked for every {minutes} minutes, while Entra is away for 30 minutes: "
        "requests that got a token",
        unit="%",
        against=MSAL,
        goal=Goal("ours", ">=", 100) if the_promise else Goal("ratio", ">=", 1),
    )


def _askings(every: float, keys: int) -> Iterator[Asking]:
    """Let each key begin at a moment of its own, so that the tokens are of any age when Entra goes."""
    draw = random.Random(SEED)
    for key in range(keys):
        at = GONE - BEFORE + draw.uniform(0, LIFETIMES[1])
        while at < GONE + AWAY:
            yield Asking(at, f"api://{key}/.default")
            at += every


class Entra:
    """Gives tokens of a random life, but for the half hour in which it gives none."""

    def __init__(self) -> None:
        self.secret = access_token()
        self._draw = random.Random(SEED)

    def lifetime(self, now: float) -> int | None:
        """Draw the life of a token, in seconds; None where there is none to be had."""
        return None if GONE <= now < GONE + AWAY else self._draw.randint(*LIFETIMES)


async def _vend(askings: list[Asking]) -> float:
    """Run the real cache; tell the percentage that was served."""
    entra, draw = Entra(), random.Random(SEED)
    now = 0.0
    clock = OneClock(lambda: now)

    async def acquire(_: Wanted) -> Acquired:
        lifetime = entra.lifetime(now)
        if lifetime is None:
            raise Unavailable(cause="away")
        fraction = draw.uniform(LIMITS.refresh_fraction_min, LIMITS.refresh_fraction_max)
        due = refresh_after(lifetime, None, fraction=fraction)
        token = AccessToken(secret=entra.secret, asked=clock(), lifetime=lifetime, refresh_after=due)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)

    tokens = token_cache(acquire, system=System(clock=clock, chance=draw.random))
    served = []
    for at, scope in askings:
        now = at
        try:
            await tokens.get(TokenKey("graph", TENANT_ID, scope))
            served.append((at, 1))
        except VendError:
            served.append((at, 0))
        for _ in range(3):
            await asyncio.sleep(0)  # a refresh in the background is over before time goes on
    return _share(served)


def _msal(askings: list[Asking]) -> float:
    """Run the real MSAL; tell the percentage that was served."""
    served = []
    with time_machine.travel(askings[0].at, tick=False) as traveller:
        app = msal.ConfidentialClientApplication(
            CLIENT_ID,
            authority=AUTHORITY,
            client_credential="secret",
            instance_discovery=False,
            http_client=_Transport(Entra()),
        )
        for at, scope in askings:
            traveller.move_to(at, tick=False)
            try:
                served.append((at, int("access_token" in app.acquire_token_for_client([scope]))))
            except requests.ConnectionError:
                served.append((at, 0))
    return _share(served)


def _share(served: list[tuple[float, int]]) -> float:
    during = [got for at, got in served if at >= GONE]
    return 100 * sum(during) / len(during)


class _Response:
    """What MSAL reads of an answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.status_code = 200
        self.headers: dict[str, str] = {}
        self.text = json.dumps(body)


class _Transport:
    """What MSAL asks of an `http_client`."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def get(self, _url: str, **_options: object) -> _Response:
        """Answer discovery."""
        endpoints = {name: f"{AUTHORITY}/{name}" for name in ("token_endpoint", "authorization_endpoint")}
        return _Response({"issuer": f"{AUTHORITY}/v2.0", **endpoints})

    def post(self, _url: str, **_options: object) -> _Response:
        """Answer a token request."""
        lifetime = self._entra.lifetime(time.time())
        if lifetime is None:
            raise requests.ConnectionError
        return _Response({"token_type": "Bearer", "expires_in": lifetime, "access_token": self._entra.secret})

    def close(self) -> None:
        """Have nothing to close."""
