"""docs/cli.md shows what the commands print."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from cli.__main__ import app, callers
from emulator.cloud import LocalCloud
from emulator.host.keys import KeyFile
from emulator.network.serve import HOST, Background
from emulator.tour.site import Site, ask, write_configuration, write_keys
from tests.cli.conftest import KEY, ROOT, launch
from tests.cli.key_host import WORKERS, KeyHost, Workers

PAGE = (ROOT / "docs" / "cli.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ \./vend ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    """Take out what differs from run to run."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"^uti    .*$", "uti    ID", text, flags=re.MULTILINE)
    return re.sub(r"\b(\d+|cache|identity_provider)\b", "#", text)


def checked(text: str) -> str:
    """Keep the names of the checks, in their order."""
    return " ".join(re.findall(r"^(\w+) +(?:ok|degraded|failed)  ", text, re.MULTILINE))


# Each needs the one before it, and a host of their own, whose document and keys they change.
STORY = [
    (command, expected)
    for command, expected in EXAMPLES
    if re.match("callers (add|list|roll|revoke|rekey|allow|deny|set|purge)|plan|apply", command)
]
WANTED = re.findall(r"^```toml\n(# wanted\.toml\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ALONE = [example for example in EXAMPLES if example not in STORY]


@pytest.mark.slow
def test_the_life_of_a_caller_is_as_the_page_tells_it(cloud: LocalCloud, tmp_path: Path) -> None:
    """The commands work in the order of the page, and print what it shows."""
    folder = tmp_path / ".run"
    folder.mkdir()
    write_configuration(cloud, folder, {"billing": KEY})
    write_keys(folder / "host.keys.json", {"billing": KEY})
    (tmp_path / "wanted.toml").write_text("".join(WANTED))
    host = KeyHost(KeyFile(folder / "host.keys.json"), Workers((folder / "callers.toml").read_bytes, WORKERS[:1]))
    with Background() as background:
        url = f"http://{HOST}:{background.serve(host.app)}"
        for command, expected in STORY:
            environ = {"VEND_CONFIG": str(folder / "vend.toml"), "VEND_URL": url}
            done = launch(*shlex.split(command), environ=environ, cwd=tmp_path)
            host.seconds += 61  # it looks for new keys once a minute
            assert (done.stdout + done.stderr).replace(f"{tmp_path}/", "") == expected


@pytest.mark.slow
@pytest.mark.parametrize(("command", "expected"), ALONE, ids=[command for command, _ in ALONE])
def test_a_command_prints_what_the_page_shows(site: Site, tmp_path: Path, command: str, expected: str) -> None:
    """Every line as it is, but for ids, times and numbers."""
    shutil.copy(ROOT / "vend.toml", tmp_path)
    (tmp_path / "billing.token").write_text("x")
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / ("operator.key" if " --as operator" in command else "billing.key")),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
        "VEND_CONTROL": site.cloud.control,
    }
    ask(site)
    try:
        done = launch(*shlex.split(command), environ=environ, cwd=tmp_path)
    finally:
        site.cloud.faults["entra"].clear()
    printed = (done.stderr + done.stdout).replace(f"{tmp_path}/", "").replace(str(site.folder), ".run")
    printed = printed.replace(site.app.url, "http://127.0.0.1:7071").replace(site.key, "...")
    if command == "status":  # how the site is depends on the tests before
        printed, expected = checked(printed), checked(expected)
    assert masked(printed) == masked(expected)


def test_the_page_shows_every_command() -> None:
    """A new command comes with its example."""
    shown = [example for example, _ in EXAMPLES]
    for group, words in ((app, ""), (callers, "callers ")):
        for command in group.registered_commands:
            assert any(f"{example} ".startswith(f"{words}{command.name} ") for example in shown)


def test_the_version_is_that_of_the_project_and_of_the_readme() -> None:
    """One number in three places."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert launch("--version", environ={}).stdout == f"vend {version}\n"
    assert f"this is version {version}" in (ROOT / "README.md").read_text()
