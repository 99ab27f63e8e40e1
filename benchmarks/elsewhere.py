"""Runs a server in a process of its own, so that it does not share the interpreter with the clients."""

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

SECONDS_TO_STOP = 10


class Address(NamedTuple):
    """Where an Entra is, what its certificate is checked by, and a secret that it takes."""

    authority: str
    ca_file: Path
    secret: str


class Elsewhere(AbstractContextManager["Elsewhere"]):
    """Serves from `with` to its end.

    Args:
        serve: importable by its name. It gets one end of a pipe and `argument`, and sends an `Address` once it serves.
            It answers every wish with something, and returns when the pipe is closed.
        argument: can be pickled.
    """

    address: Address

    def __init__(self, serve: Callable[[Connection, bytes], None], argument: bytes = b"") -> None:
        self._serve = serve
        self._argument = argument

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=self._serve, args=(theirs, self._argument), daemon=True)
        self._process.start()
        theirs.close()
        self.address = self._pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(SECONDS_TO_STOP)

    def wish(self, wish: object) -> None:
        """Tell the server something, and wait until it is so."""
        self._pipe.send(wish)
        self._pipe.recv()
