"""Makes load: `wrk` where it is installed, else a few coroutines of our own."""

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

CONNECTIONS = 16
WRK = shutil.which("wrk")
NAME = "wrk" if WRK else "asyncio"


class Request(NamedTuple):
    """One request that is sent again and again."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str = ""


class LoadError(Exception):
    """Some answers were no 2xx, so their number means nothing."""


def requests_a_second(request: Request, *, seconds: float) -> float:
    """Send as many requests as get answered.

    Raises:
        LoadError: an answer was no success.
    """
    return _wrk(WRK, request, seconds) if WRK else asyncio.run(_coroutines(request, seconds))


def _wrk(program: str, request: Request, seconds: float) -> float:
    script = [f'wrk.method = "{request.method}"', f'wrk.body = "{request.body}"']
    script += [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.lua"
        file.write_text("\n".join(script))
        command = [
            program,
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "10s",
            "-s",
            str(file),
            request.url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise LoadError(done.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found
    return float(found[1])


async def _coroutines(request: Request, seconds: float) -> float:
    end = time.perf_counter() + seconds
    counts = await asyncio.gather(*(_repeat(request, end) for _ in range(CONNECTIONS)))
    return sum(counts) / seconds


async def _repeat(request: Request, end: float) -> int:
    """Ask on one connection until the time is over; return how often it was answered."""
    place = urlsplit(request.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    headers = {**request.headers, "host": place.netloc, "content-length": str(len(request.body))}
    lines = [f"{request.method} {place.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    sent = ("\r\n".join(lines) + "\r\n\r\n" + request.body).encode()
    answered = 0
    while time.perf_counter() < end:
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise LoadError(head.decode())
        length = re.search(rb"content-length:\s*(\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered
