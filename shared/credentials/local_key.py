"""Signs in this worker, with a private key that is read once and stays in memory alone."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm
from shared.core.entra.key_pair import KeyPair, read_key_pair
from shared.single_flight import Flights


async def parse_key_pair(content: bytes, *, name: str, password: str = "", threads: Executor) -> KeyPair:
    """Read a key pair in a thread, since it validates the key; arguments and errors as in `read_key_pair`."""
    parse = partial(read_key_pair, content, name=name, password=password)
    return await asyncio.get_running_loop().run_in_executor(threads, parse)


class LocalSigner:
    """Signs with the private key of a certificate.

    Args:
        load: returns the certificate and its key; it raises the errors of `Link.proof`.
        seconds: after which a loading is given up.
        threads: where it signs.
    """

    def __init__(self, load: Callable[[], Awaitable[KeyPair]], *, seconds: float, threads: Executor) -> None:
        self._load = load
        self._threads = threads
        self._pair: KeyPair | None = None
        self._loadings: Flights[None, KeyPair] = Flights(seconds=seconds)

    async def certificate(self) -> Certificate:
        """Return the certificate; errors as in `Link.proof`."""
        return (await self._loaded()).certificate

    async def sign(self, content: bytes, algorithm: Algorithm = Algorithm.PS256) -> bytes:
        """Return a signature; errors as in `Link.proof`."""
        pair = await self._loaded()
        return await asyncio.get_running_loop().run_in_executor(self._threads, pair.sign, content, algorithm)

    async def _loaded(self) -> KeyPair:
        return self._pair or await self._loadings.join(None, self._read)

    async def _read(self) -> KeyPair:
        self._pair = await self._load()
        return self._pair
