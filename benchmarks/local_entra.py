"""The local Entra of `emulator/`, strict and with faults, in a process of its own."""

import logging
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.elsewhere import Address, Elsewhere
from emulator.cloud import LocalCloud
from emulator.network.faults import Fault
from emulator.seed import CLIENT_ID
from tests.emulator.client import KeyPair, key_pair

DAY = 86_400


class Lives(NamedTuple):
    """What the tokens from now on say of their life, in seconds."""

    lifetime: int = 3_600
    refresh_in: int | None = None


class LocalEntra(Elsewhere):
    """Runs from `with` to its end; `key` is registered there."""

    def __init__(self) -> None:
        now = time.time()
        self.key: KeyPair = key_pair(starts=now - DAY, ends=now + DAY)
        super().__init__(_serve, self.key.der)

    def fail(self, fault: Fault | None) -> None:
        """Put a fault, or none, in force."""
        self.wish(fault)

    def issue(self, lives: Lives) -> None:
        """Say what the next tokens say of their life."""
        self.wish(lives)


def _serve(pipe: Connection, certificate: bytes) -> None:
    # Clients that give up in the middle of a fault are what is measured here, and no news.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory() as folder, LocalCloud(Path(folder)) as cloud:
        cloud.directory.register_certificate(CLIENT_ID, certificate)
        secret = cloud.directory.add_secret(CLIENT_ID, lifetime=DAY)
        pipe.send(Address(cloud.authority, cloud.ca_file, secret))
        while True:
            try:
                wish: Fault | Lives | None = pipe.recv()
            except EOFError:
                return
            if isinstance(wish, Lives):
                cloud.entra.token_lifetime, cloud.entra.refresh_in = wish
            elif wish is None:
                cloud.faults["entra"].clear()
            else:
                cloud.faults["entra"].set(wish)
            pipe.send(None)
