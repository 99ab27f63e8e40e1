"""Target 8: a token that is in the cache, inside the process."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from benchmarks import libraries
from benchmarks.bare_entra import LIFETIME, BareEntra, access_token
from benchmarks.elsewhere import Address
from benchmarks.libraries import Tally
from benchmarks.ours import token_cache
from benchmarks.rows import AZURE, AZURE_AIO, MSAL, VEND, Goal, Row, Scale, compared
from benchmarks.timing import by_turns, each, each_awaited, medians
from emulator.network.serve import Background
from emulator.seed import TENANT_ID
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource, Wanted
from shared.system import System

FLOOR = "dict"
MANY = 10_000
MANY_OF_A_LIBRARY = 1_000  # filling one with 10,000 takes minutes


def rows(scale: Scale) -> list[Row]:
    """Time a hit with one entry and with many."""
    many, theirs = scale.pick(MANY, 50), scale.pick(MANY_OF_A_LIBRARY, 5)
    with BareEntra() as bare, ExitStack() as stack:
        one = medians(by_turns(_contenders(bare.address, stack, 1, 1, scale), scale))
        full = medians(by_turns(_contenders(bare.address, stack, many, theirs, scale), scale))
    return [
        compared(
            one,
            row_id="hit",
            what="Time to get a cached token, 1 token in the cache",
            unit="us",
            against=MSAL,
            goal=Goal("ratio", "<=", 1 / 40),
        ),
        compared(
            {VEND: one[VEND], FLOOR: one[FLOOR]},
            row_id="hit-floor",
            what="Time to get a cached token, 1 token in the cache, beside a dictionary with an expiry check",
            unit="us",
            against=FLOOR,
            goal=Goal("ratio", "<=", 4),
        ),
        compared(
            full,
            row_id="hit-many",
            what=f"Time to get a cached token, {many:,} tokens in the cache (the libraries: {theirs:,})",
            unit="us",
            against=FLOOR,
            goal=Goal("ratio", "<=", 4),
        ),
    ]


def _contenders(
    address: Address, stack: ExitStack, ours: int, theirs: int, scale: Scale
) -> dict[str, Callable[[], float]]:
    """Fill each cache, and ask it for what came into it last."""
    quick, slow = scale.pick(100_000, 100), scale.pick(2_000, 10)
    return {
        VEND: partial(each, _vend(ours), quick),
        FLOOR: partial(each, _dictionary(ours), quick),
        MSAL: partial(each, _filled(libraries.msal_app(address, stack, tally=Tally()), theirs), slow),
        AZURE: partial(each, _filled(libraries.azure(address, stack, tally=Tally()), theirs), slow),
        AZURE_AIO: _azure_aio(address, stack, theirs, scale.pick(500, 10)),
    }


def _scope(number: int) -> str:
    return f"api://{number}/.default"


def _key(number: int) -> TokenKey:
    return TokenKey("graph", TENANT_ID, _scope(number))


def _vend(entries: int) -> Callable[[], object]:
    secret, system = access_token(), System()

    async def acquire(_: Wanted) -> Acquired:
        token = AccessToken(secret=secret, asked=system.clock(), lifetime=LIFETIME, refresh_after=LIFETIME / 2)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)

    tokens = token_cache(acquire, system=system)

    async def fill() -> None:
        for number in range(entries):
            await tokens.get(_key(number))

    asyncio.run(fill())
    call = partial(tokens.hit, _key(entries - 1))
    assert call() is not None
    return call


class _Kept(NamedTuple):
    token: str
    expires_on: float


def _dictionary(entries: int) -> Callable[[], object]:
    """Make the least that a cache of tokens can be."""
    kept = {_key(number): _Kept(access_token(), time.time() + LIFETIME) for number in range(entries)}
    key = _key(entries - 1)

    def call() -> str | None:
        found = kept.get(key)
        return found.token if found is not None and found.expires_on > time.time() else None

    assert call() is not None
    return call


def _filled(get: Callable[[str], object], entries: int) -> Callable[[], object]:
    for number in range(entries):
        get(_scope(number))
    return partial(get, _scope(entries - 1))


def _azure_aio(address: Address, stack: ExitStack, entries: int, times: int) -> Callable[[], float]:
    loop = stack.enter_context(Background())
    get = libraries.azure_aio(address, stack, loop=loop, tally=Tally())

    async def fill() -> None:
        for number in range(entries):
            await get(_scope(number))

    loop.run(fill())
    return lambda: loop.run(each_awaited(partial(get, _scope(entries - 1)), times))
