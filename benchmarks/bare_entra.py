"""An Entra that does no work: prepared answers over TLS keep-alive, in a process of its own.

The local Entra of `emulator/` checks and signs for milliseconds, several times what a client costs. Where that is what
is measured, its jitter would drown it.
"""

import asyncio
import base64
import json
import socket
import ssl
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.elsewhere import Address, Elsewhere
from emulator.network.ca import CertificateAuthority
from emulator.network.serve import listening_socket
from emulator.seed import CLIENT_ID, TENANT_ID

LIFETIME = 3_599  # seconds
ROLES = 24  # so that the token is as long as most of Entra's, 1.5 to 2 KB


class BareEntra(Elsewhere):
    """Runs from `with` to its end; takes any client."""

    def __init__(self) -> None:
        super().__init__(_serve)


def access_token() -> str:
    """Make a token of the shape and length of Entra's; its signature is none."""
    claims = {
        "aud": "https://graph.microsoft.com",
        "iss": f"https://sts.windows.net/{TENANT_ID}/",
        "appid": CLIENT_ID,
        "tid": TENANT_ID,
        "idtyp": "app",
        "ver": "1.0",
        "roles": [f"Resource{number:02}.ReadWrite.All" for number in range(ROLES)],
    }
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode(), bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class _Answers(asyncio.Protocol):
    """Answers each request once it is whole."""

    def __init__(self, token: bytes, discovery: bytes) -> None:
        self._token = token
        self._discovery = discovery
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, end, body = self._waiting.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) < int(length.partition(b"\r\n")[0] or 0):
            return
        self._waiting = b""
        self._transport.write(self._token if head.startswith(b"POST") else self._discovery)


def _http(body: dict[str, object]) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)


def _serve(pipe: Connection, _: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        authority = CertificateAuthority()
        sock = listening_socket()
        address = Address(f"https://localhost:{sock.getsockname()[1]}", authority.write(Path(folder)), "secret")
        asyncio.run(_run(address, pipe, sock=sock, tls=authority.server_context("localhost")))


async def _run(address: Address, pipe: Connection, *, sock: socket.socket, tls: ssl.SSLContext) -> None:
    base = f"{address.authority}/{TENANT_ID}"
    token = _http({"token_type": "Bearer", "expires_in": LIFETIME, "access_token": access_token()})
    discovery = _http(
        {
            "issuer": f"{base}/v2.0",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        }
    )
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(pipe.fileno(), closed.set)  # a closed pipe can be read from
    async with await loop.create_server(lambda: _Answers(token, discovery), sock=sock, ssl=tls):
        pipe.send(address)
        await closed.wait()
