"""The commands in this process; through the launcher where the way there is what matters."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner, Result

from cli.__main__ import app
from emulator.serve import HOST, Background

ROOT = Path(__file__).parents[2]
KEY = "C4N4RY-the-function-key-of-billing"
SCOPE = "https://graph.microsoft.com/.default"

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command, with nothing in the environment that it heeds but what is given."""
    for name in (*(name for name in os.environ if name.startswith("VEND_")), "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, **environ: str) -> Result:
        return CliRunner().invoke(app, words, env=environ, prog_name="./vend")

    return run


def launch(*words: str, environ: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one command by the launcher."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VEND_")}
    return subprocess.run(
        [ROOT / "vend", *words], env=inherited | environ, cwd=cwd, capture_output=True, text=True, check=False
    )


class Oracle:
    """Answers every request with what it was told to, and remembers the last one."""

    def __init__(self) -> None:
        self.answer = Response()
        self.headers: Mapping[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await self.answer(scope, receive, send)


@pytest.fixture(scope="session")
def oracle() -> Iterator[tuple[Oracle, str]]:
    """A server that stands where vend would, and its address."""
    with Background() as background:
        serving = Oracle()
        yield serving, f"http://{HOST}:{background.serve(serving)}"
