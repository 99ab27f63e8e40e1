"""docs/cli.md shows what the commands print."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from cli.__main__ import app, callers
from emulator.run import Site
from tests.cli.conftest import ROOT, launch

PAGE = (ROOT / "docs" / "cli.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ \./vend ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    """Take out what differs from run to run."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{12}\b", "ID", text)
    return re.sub(r"\b(\d+|cache|identity_provider)\b", "#", text)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "expected"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_a_command_prints_what_the_page_shows(site: Site, tmp_path: Path, command: str, expected: str) -> None:
    """Every line as it is, but for ids, times and numbers."""
    shutil.copy(ROOT / "vend.toml", tmp_path)
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / "billing.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
        "VEND_CONTROL": site.cloud.control,
    }
    try:
        done = launch(*shlex.split(command), environ=environ, cwd=tmp_path)
    finally:
        site.cloud.faults["entra"].clear()
    printed = (done.stdout + done.stderr).replace(f"{tmp_path}/", "").replace(str(site.folder), ".run")
    assert masked(printed) == masked(expected)


def test_the_page_shows_every_command() -> None:
    """A new command comes with its example."""
    shown = [example for example, _ in EXAMPLES]
    for group, words in ((app, ""), (callers, "callers ")):
        for command in group.registered_commands:
            assert any(example.startswith(f"{words}{command.name} ") or example == command.name for example in shown)
