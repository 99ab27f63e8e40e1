"""The commands in this process; through the launcher where the way there is what matters."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app

ROOT = Path(__file__).parents[2]

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
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [ROOT / "vend", *words], env=inherited | environ, cwd=cwd, capture_output=True, text=True, check=False
    )
