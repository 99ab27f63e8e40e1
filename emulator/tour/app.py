"""The app in a Functions host of its own process."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 30
SECONDS_TO_STOP = 10


class SiteError(Exception):
    """The site did not start; the text names the reason and the file to read."""


class App(AbstractContextManager["App"]):
    """The app in a Functions host of its own process, whose environment is its app settings and nothing else.

    Args:
        settings: the app settings.
        keys: the key store of the host.
        log: receives the log of the app.
        port: of the host; 0 for a free one.
        app: the folder of the function app.
        path: where modules are looked for, beside the standard library; () for the packages of this environment.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str],
        keys: Path,
        log: Path,
        port: int = 0,
        app: Path = ROOT,
        path: Sequence[Path] = (),
    ) -> None:
        # -P: the current folder is no place for modules; -S: neither is this environment.
        self._command = [
            sys.executable, "-P", *(["-S"] if path else []), "-m", "emulator.host", "--app", str(app),
            "--port", str(port), "--keys", str(keys), "--log", str(log), "--with-parent",
        ]  # fmt: skip
        places = os.pathsep.join(str(place) for place in path or (ROOT,))
        self._environment = {**_inherited(), **settings, "PYTHONPATH": places}
        self._log = log

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C in a terminal reaches this process alone, and it stops the app in order.
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(SECONDS_TO_START, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self.__exit__(None, None, None)
            raise SiteError(f"the Functions host did not start; see {self._log}")
        self.url = line.rsplit(maxsplit=1)[-1]
        self.pid = self._process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def _inherited() -> dict[str, str]:
    """Return what a process needs of this environment, without any variable that configures an SDK."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
