"""vend's own parts, put together as its composition root does, but with a key that lies in memory."""

import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from shared.adapters.http import HttpClient, client_tls, read_roots
from shared.core.entra.certificate import CertificateVersion
from shared.core.entra.clouds import Cloud
from shared.core.limits import Limits
from shared.core.token import Moment, TokenKey
from shared.credentials.chain import Chain
from shared.credentials.vault_certificate import VaultCertificate
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.acquire import Client, Entra, Post
from shared.tokens.cache import Acquire, TokenCache
from tests.emulator.client import KeyPair

SCOPE = f"{GRAPH}/.default"
KEY = TokenKey("graph", TENANT_ID, SCOPE)
LIMITS = Limits(cache_entries=20_000)
UNHEARD = Events(lambda _: None, wall=time.time, worker="bench")


class OneClock:
    """One clock for both, so that they move together when the time of the libraries is moved."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.wall = self.boot = read

    def __call__(self) -> Moment:
        """Read it."""
        now = self.wall()
        return Moment(wall=now, boot=now)


clock = OneClock(lambda: time.time())  # noqa: PLW0108  # looked up when it is read: time-machine replaces it


SYSTEM = System(clock=clock)


class MemoryKey:
    """Signs as a vault would, without the way to it: the libraries' keys lie in memory too."""

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Describe the one certificate."""
        return CertificateVersion(
            version="1",
            key_id=name,
            thumbprint=self._pair.thumbprint("sha256").rstrip("="),
            not_after=self._pair.certificate.not_valid_after_utc,
        )

    async def sign(self, key_id: str, digest: bytes) -> bytes:  # noqa: ARG002  # there is one key
        """Sign a SHA-256 digest with PS256."""
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return self._pair.key.sign(digest, pss, Prehashed(hashes.SHA256()))


def http_client(ca_file: Path) -> HttpClient:
    """Make the client of outside."""
    return HttpClient(tls=client_tls(read_roots(str(ca_file))), proxy="", limits=LIMITS)


def entra(authority: str, *, key: KeyPair, post: Post) -> Entra:
    """Make what acquires tokens, with a signature per nine minutes."""
    credential = VaultCertificate(vault=MemoryKey(key), name="vend", client_id=CLIENT_ID, limits=LIMITS, system=SYSTEM)
    return Entra(
        cloud=Cloud(
            authority=authority,
            graph=GRAPH,
            management=GRAPH,
            token_exchange_audience="api://AzureADTokenExchange",
            verify_vault_challenge=False,
        ),
        clients={KEY.profile: Client(client_id=CLIENT_ID, credential=Chain([credential]))},
        post=post,
        limits=LIMITS,
        system=SYSTEM,
        events=UNHEARD,
    )


def token_cache(
    acquire: Acquire,
    *,
    system: System = SYSTEM,
    version: Callable[[TokenKey], str] = lambda _: "",
) -> TokenCache:
    """Make the warm cache."""
    return TokenCache(acquire, version=version, limits=LIMITS, system=system, events=UNHEARD)
