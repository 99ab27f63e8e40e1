"""`python -m emulator.host --app DIR --port 7071 --keys FILE`: one process with one worker for one app."""

import argparse
import asyncio
import datetime as dt
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import uvicorn

from emulator.host.app import Host
from emulator.network.serve import HOST, listening_socket

SECONDS_TO_FINISH = 5
KEEP_ALIVE_SECONDS = 130  # as in Kestrel


class _Server(uvicorn.Server):
    """Prints the address once it listens."""

    def stop_at_end_of(self, pipe: TextIO) -> None:
        """Stop when the other end of a pipe, into which nobody writes, has been closed or its process killed."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pipe)
            self.should_exit = True

        loop.add_reader(pipe, ended)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            sys.stdout.write(f"Functions host: http://{HOST}:{sock.getsockname()[1]}\n")
        sys.stdout.flush()


def main() -> None:
    """Serve one app until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m emulator.host", description="A local Azure Functions host.")
    parser.add_argument("--app", type=_path, required=True, help="folder of host.json")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--keys", type=_path, required=True, help="key store; created if absent")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input ends, as it does then")
    parser.add_argument("--log", type=_path, help="file for the app's log (else stderr)")
    options = parser.parse_args()
    if not (options.app / "host.json").is_file():
        parser.error(f"{options.app} has no host.json")
    with ExitStack() as stack:
        try:
            sock = stack.enter_context(listening_socket(options.port))
        except OSError as error:
            parser.error(f"port {options.port}: {error.strerror}")
        stream = stack.enter_context(options.log.open("a", buffering=1)) if options.log else sys.stderr
        _enter(options.app)
        asyncio.run(_serve(options, sock, lambda line: stream.write(f"{line}\n")))


async def _serve(options: argparse.Namespace, sock: socket.socket, log: Callable[[str], object]) -> None:
    try:
        host = await Host.load(options.app, keys=options.keys, now=lambda: dt.datetime.now(dt.UTC), log=log)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    with host:
        config = uvicorn.Config(
            host,
            proxy_headers=False,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
        )
        # uvicorn stops on either signal and raises it again for an earlier handler: there is none.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        server = _Server(config)
        if options.with_parent:
            server.stop_at_end_of(sys.stdin)
        await server.serve(sockets=[sock])
        log(f"Stopped; dropped {host.dropped_lines} log lines that belonged to no running invocation")


def _enter(app_dir: Path) -> None:
    """Change to the app's folder and add local.settings.json to the environment, which takes precedence."""
    file = app_dir / "local.settings.json"
    if file.exists():
        for name, value in json.loads(file.read_text()).get("Values", {}).items():
            os.environ.setdefault(name, value)
    os.chdir(app_dir)


def _path(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    main()
