"""The blob services that a test runs against: the local one, and Azurite, which is its oracle."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt

from emulator.blob.app import RESOURCE
from emulator.cloud import LocalCloud
from emulator.seed import CONTAINER, DIRECTORY_CONTAINER, TENANT_ID
from shared.adapters.blob import NAME, VERSION, BlobSource
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.core.documents.content import Content
from shared.core.limits import Limits
from shared.core.token import AccessToken, Moment
from tests.adapters.azurite import azurite
from tests.emulator.client import new_principal, signed_token

HOUR = 3600


@dataclass(frozen=True)
class Store:
    """A blob service: the local one, or Azurite.

    Args:
        url: of the account.
        ca_file: the root of its certificate.
        token: signs a token for a resource, which ends in so many seconds, for somebody who may read and write.
    """

    url: str
    ca_file: Path
    token: Callable[[str, int], str]

    def ask(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        """Send a request; a header that is "" is left out."""
        given = {"authorization": f"Bearer {self.token(RESOURCE, HOUR)}", "x-ms-version": VERSION}
        if method == "PUT" and "?" not in path:
            given["x-ms-blob-type"] = "BlockBlob"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        tls = ssl.create_default_context(cafile=str(self.ca_file))
        sent = {name: value for name, value in given.items() if value}
        return httpx.request(method, f"{self.url}/{path}", headers=sent, content=content, verify=tls, trust_env=False)

    def write(self, name: str, content: bytes) -> str:
        """Replace a blob; return its ETag."""
        answer = self.ask("PUT", f"{CONTAINER}/{name}", content)
        assert answer.status_code == 201
        return answer.headers["etag"]

    def read(self, *etags: str, name: str, resource: str = RESOURCE, life: int = HOUR) -> list[Content | None]:
        """Read a blob as the app does, once for each ETag."""
        secret = self.token(resource, life)

        async def token(_: str | None) -> AccessToken:
            return AccessToken(secret, Moment(wall=time.time(), boot=0.0), lifetime=HOUR, refresh_after=HOUR)

        async def story() -> list[Content | None]:
            network = Network(tls=client_tls(read_roots(str(self.ca_file))), proxy="", limits=Limits())
            try:
                get = network.upstream(NAME, exactly(self.url)).get
                source = BlobSource(f"{self.url}/{CONTAINER}/{name}", get_token=token, get=get)
                return [await source.read(etag) for etag in etags]
            finally:
                await network.aclose()

        return asyncio.run(story())


def local_store(cloud: LocalCloud) -> Store:
    """Return the local blob service."""
    principal = new_principal(cloud)
    cloud.blob.assign(principal.object_id, "Storage Blob Data Contributor")

    def token(resource: str, life: int) -> str:
        return signed_token(cloud, principal, resource=resource, lifetime=life)

    return Store(cloud.blob_url, cloud.ca_file, token)


@contextmanager
def oracle_store(folder: Path) -> Iterator[Store]:
    """Serve Azurite, with the containers of the local service."""

    def token(resource: str, life: int) -> str:
        now = int(time.time())
        claims = {"aud": resource, "iss": f"https://sts.windows.net/{TENANT_ID}/", "nbf": now - HOUR, "exp": now + life}
        return jwt.encode({**claims, "iat": now - HOUR}, "its signature is not checked, at any length", "HS256")

    with azurite(folder) as url:
        store = Store(url, folder / "ca.pem", token)
        for container in (CONTAINER, DIRECTORY_CONTAINER):
            assert store.ask("PUT", f"{container}?restype=container").status_code == 201
        yield store
