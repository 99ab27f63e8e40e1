"""Signs in this worker, with a private key that is read once and stays in memory alone."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm
from shared.core.entra.key_pair import KeyPair, read_key_pair
from shared.single_flight import Flights


async def parse_key_pair(content: bytes, *, name: str, password: str = "") -> KeyPair:
    """Read a key pair off the event loop, since it validates the key; arguments and errors as in `read_key_pair`."""
    return await asyncio.to_thread(read_key_pair, content, name=name, password=password)


class LocalSigner:
    """Signs with the private key of a certificate.

    Args:
        load: returns the certificate and its key; it raises the errors of `Link.proof`.
        seconds: after which a loading is given up.
    """

    def __init__(self, load: Callable[[], Awaitable[KeyPair]], *, seconds: float) -> None:
        self._load = load
        self._pair: KeyPair | None = None
        self._loadings: Flights[None, KeyPair] = Flights(seconds=seconds)

    async def certificate(self) -> Certificate:
        """Return the certificate; errors as in `Link.proof`."""
        return (await self._loaded()).certificate

    async def sign(self, content: bytes, algorithm: Algorithm = Algorithm.PS256) -> bytes:
        """Return a signature; errors as in `Link.proof`."""
        return await asyncio.to_thread((await self._loaded()).sign, content, algorithm)

    async def _loaded(self) -> KeyPair:
        return self._pair or await self._loadings.join(None, self._read)

    async def _read(self) -> KeyPair:
        self._pair = await self._load()
        return self._pair
