"""vend and the libraries behind one face: a crowd asks, and what that costs Entra is counted."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from benchmarks import libraries
from benchmarks.libraries import Tally
from benchmarks.local_entra import LocalEntra
from benchmarks.ours import KEY, SCOPE, entra, token_cache, way_out
from benchmarks.rows import AZURE, AZURE_AIO, MSAL, VEND
from emulator.network.serve import Background
from shared.core.reply import Reply


class Asked(NamedTuple):
    """How one caller fared: the seconds it waited, and whether it has a token."""

    seconds: float
    served: bool


class Client(ABC):
    """One way to get a token; `tally` counts what it asks Entra."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    @abstractmethod
    def crowd(self, callers: int) -> list[Asked]:
        """Let so many callers ask at once; returns when the last of them has its answer."""


class Threads(Client):
    """A library whose calls block: each caller is a thread."""

    def __init__(self, get: Callable[[], object], tally: Tally) -> None:
        super().__init__(tally)
        self._get = get

    def crowd(self, callers: int) -> list[Asked]:
        """Let so many threads ask at once."""
        together = threading.Barrier(callers)

        def ask(_: int) -> Asked:
            together.wait()
            began = time.perf_counter()
            served = _succeeds(self._get)
            return Asked(time.perf_counter() - began, served)

        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(ask, range(callers)))


class Coroutines(Client):
    """A library whose calls are awaited: all callers live on one event loop, in a thread that runs on behind them."""

    def __init__(self, get: Callable[[], Awaitable[object]], tally: Tally, loop: Background) -> None:
        super().__init__(tally)
        self._get = get
        self._loop = loop

    def crowd(self, callers: int) -> list[Asked]:
        """Let so many coroutines ask at once."""
        return self._loop.run(self._crowd(callers))

    async def _crowd(self, callers: int) -> list[Asked]:
        return await asyncio.gather(*(self._ask() for _ in range(callers)))

    async def _ask(self) -> Asked:
        began = time.perf_counter()
        try:
            await self._get()
        except Exception:  # noqa: BLE001  # whatever it is, the caller has no token
            return Asked(time.perf_counter() - began, served=False)
        return Asked(time.perf_counter() - began, served=True)


def _succeeds(get: Callable[[], object]) -> bool:
    try:
        get()
    except Exception:  # noqa: BLE001  # whatever it is, the caller has no token
        return False
    return True


def _vend(local: LocalEntra, stack: ExitStack) -> Client:
    tally, loop = Tally(), stack.enter_context(Background())
    http = way_out(local.address.authority, local.address.ca_file)
    stack.callback(lambda: loop.run(http.aclose()))
    stack.callback(lambda: loop.run(_landing()))

    async def post(url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        tally.add("POST")
        return await http.post(url, form, headers=headers)

    tokens = token_cache(entra(local.address.authority, key=local.key, post=post).acquire)
    return Coroutines(partial(tokens.get, KEY), tally, loop)


async def _landing() -> None:
    """Wait for the refreshes that nobody waits for."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


def _msal(local: LocalEntra, stack: ExitStack) -> Client:
    tally = Tally()
    return Threads(partial(libraries.msal_app(local.address, stack, tally=tally), SCOPE), tally)


def _azure(local: LocalEntra, stack: ExitStack) -> Client:
    tally = Tally()
    return Threads(partial(libraries.azure(local.address, stack, tally=tally), SCOPE), tally)


def _azure_aio(local: LocalEntra, stack: ExitStack) -> Client:
    tally, loop = Tally(), stack.enter_context(Background())
    return Coroutines(partial(libraries.azure_aio(local.address, stack, tally=tally, loop=loop), SCOPE), tally, loop)


CLIENTS: Mapping[str, Callable[[LocalEntra, ExitStack], Client]] = MappingProxyType(
    {VEND: _vend, MSAL: _msal, AZURE: _azure, AZURE_AIO: _azure_aio}
)
"""Each makes a client that has nothing cached yet; the stack closes it."""
