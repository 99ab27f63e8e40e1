"""vend's own parts, put together as its composition root does, but with a key that lies in memory."""

import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from shared.adapters.http import Network, Upstream, client_tls, exactly, read_roots
from shared.core.entra.certificate import Certificate, VersionSummary
from shared.core.entra.clouds import Cloud
from shared.core.entra.jws import Algorithm
from shared.core.limits import Limits
from shared.core.token import Moment, TokenKey
from shared.credentials.chain import Chain
from shared.credentials.vault_certificate import vault_certificate
from shared.credentials.vault_signer import VaultSigner
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.acquire import Client, Entra
from shared.tokens.cache import Acquire, TokenCache
from shared.tokens.endpoint import Post
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

    url = "https://vault.example"

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair

    async def certificate_versions(self, name: str) -> list[VersionSummary]:  # noqa: ARG002  # there is one
        """Describe the one version of the one certificate."""
        made = self._pair.certificate
        return [
            VersionSummary(
                version="1",
                enabled=True,
                created=made.not_valid_before_utc,
                not_before=made.not_valid_before_utc,
                not_after=made.not_valid_after_utc,
            )
        ]

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:  # noqa: ARG002  # as above
        """Return the one certificate."""
        thumbprint = self._pair.thumbprint("sha256").rstrip("=")
        made = self._pair.certificate
        return Certificate(thumbprint, made.not_valid_before_utc, made.not_valid_after_utc, chain=()), name

    async def sign(self, key_id: str, digest: bytes, algorithm: Algorithm) -> bytes:  # noqa: ARG002
        """Sign a SHA-256 digest with PS256."""
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return self._pair.key.sign(digest, pss, Prehashed(hashes.SHA256()))


def way_out(authority: str, ca_file: Path) -> Upstream:
    """Make the way to Entra."""
    network = Network(tls=client_tls(read_roots(str(ca_file))), proxy="", limits=LIMITS)
    return network.upstream("Entra", exactly(authority))


def entra(authority: str, *, key: KeyPair, post: Post) -> Entra:
    """Make what acquires tokens, with a signature per nine minutes."""
    vault = MemoryKey(key)
    credential = vault_certificate(
        vault,
        name="vend",
        signer=lambda version: VaultSigner(vault, name="vend", version=version),
        client_id=CLIENT_ID,
        limits=LIMITS,
        system=SYSTEM,
    )
    chain = Chain([credential], limits=LIMITS, system=SYSTEM)
    return Entra(
        cloud=Cloud(
            authority=authority,
            graph=GRAPH,
            management=GRAPH,
            token_exchange_audience="api://AzureADTokenExchange",
            blob="localhost",
            vault="localhost",
            database="localhost",
            verify_vault_challenge=False,
        ),
        clients={KEY.profile: Client(client_id=CLIENT_ID, credential=chain)},
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
