"""Where an operator sits who changes the callers document: `./vend callers` with both documents and a host."""

import hashlib
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import Result

from cli.patience import Patience
from emulator.cloud import LocalCloud
from emulator.host.keys import KeyFile
from emulator.seed import CONTAINER
from emulator.tour.site import SCOPE
from shared.core.origins import Origin, origin_of
from tests.cli.key_host import KeyHost
from tests.emulator.client import Clock

type Secrets = list[tuple[str, Origin | None]]

OLD = "C4N4RY-the-key-that-billing-has-already"
COMMENT = "# Ann asked for this one.\n"
ADD = ("callers", "add", "reports", "--allow", SCOPE)


@dataclass
class Desk:
    """Where an operator sits: both documents, a host with keys, and a login where it is an app in Azure."""

    run: Callable[..., Result]
    cloud: LocalCloud
    folder: Path
    host: KeyHost
    keys: KeyFile
    environ: dict[str, str] = field(repr=False)
    secrets: Secrets
    in_azure: bool = False
    waited: float = 0
    now: Callable[[], float] = time.time
    meanwhile: Callable[[], object] = lambda: None
    """What happens while the next command waits for the first time."""

    @property
    def content(self) -> bytes | None:
        """What lies where the callers document is: in a file, or in a blob; None for nothing."""
        try:
            if self.in_azure:
                return self.cloud.blob.read(CONTAINER, "callers.toml")
            return (self.folder / "callers.toml").read_bytes()
        except (KeyError, FileNotFoundError):
            return None

    @property
    def document(self) -> str:
        """The callers document."""
        return (self.content or b"").decode()

    @document.setter
    def document(self, text: str) -> None:
        if self.in_azure:
            self.cloud.blob.write(CONTAINER, "callers.toml", text.encode())
        else:
            (self.folder / "callers.toml").write_text(text)

    @property
    def callers(self) -> dict[str, Any]:
        """The entries of the document."""
        found: dict[str, Any] = tomllib.loads(self.document).get("callers", {})
        return found

    @property
    def held(self) -> dict[str, str]:
        """The keys of the host, by name."""
        return {name: key for name, key in self.keys.read().functionKeys.items() if name != "default"}

    @property
    def without_key(self) -> set[str]:
        """The callers of the document that have a key which the host has not."""
        held = set(map(sha256, self.held.values()))
        return {name for name, entry in self.callers.items() if not set(entry.get("key_sha256", ())) <= held}

    def check_keys(self) -> None:
        """See that each caller of the document has each of its keys at the host."""
        assert self.without_key == set()

    def interfere(self, edit: Callable[[str], str]) -> None:
        """Have another operator change the document after the next command has read it, before it writes."""
        read = self.host.workers.document

        def document() -> bytes | None:
            self.host.workers.document = read
            self.document = edit(self.document)
            return read()

        self.host.workers.document = document

    def do(self, *words: str) -> Result:
        """Run one command, which waits by a clock that runs when it sleeps."""
        clock = Clock(0.0)

        def sleep(seconds: float) -> None:
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
            clock.moment += seconds
            self.host.seconds += seconds

        self.secrets.clear()
        done = self.run(*words, obj=Patience(clock, sleep, self.now), **self.environ)
        self.waited = clock.moment
        app, cloud = origin_of(self.environ["VEND_URL"]), (self.cloud.blob_url, self.cloud.management_url)
        for header, origin in self.secrets:
            assert origin in ({app} if header == "x-functions-key" else set(map(origin_of, cloud)))
        return done

    def new_key(self, done: Result, name: str) -> str:
        """Find the key that a command has handed over: at a `make run` in a file, else alone on stdout."""
        if self.in_azure:
            assert done.stdout.count("\n") == 1
            return done.stdout.strip()
        file = self.folder / f"{name}.key"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() not in done.output
        return file.read_text()


def sha256(key: str) -> str:
    """Hash a key as the document has it."""
    return hashlib.sha256(key.encode()).hexdigest()
