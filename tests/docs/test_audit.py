"""docs/audit.md: each command prints what the page shows; each query of any page is one that the workspace takes."""

import json
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from cli.audit import query_of_token
from cli.last_day import QUERY
from cli.past_answer import query_of_answer
from shared.telemetry.catalogue import EVENTS
from tests.clients.test_stock_clients import HERE, NODE
from tests.docs.test_docs import CONFIGURATION, ENVIRON, ROOT, block

PAGE = (ROOT / "docs" / "audit.md").read_text()
CONSOLES: list[tuple[str, str]] = re.findall(
    r"^```console\n\$ \./vend (audit[^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
BLOCKS: list[str] = [
    query
    for page in ROOT.glob("docs/*.md")
    for query in re.findall(r"^```kusto\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]
GRAPH, VAULT = "https://graph.microsoft.com/.default", "https://vault.azure.net/.default"
CALLERS = f"""
[callers.billing]
key_sha256 = ["{"0" * 64}"]
allow = [{{ profile = "graph", scopes = ["{GRAPH}"] }}]
[callers.reports]
key_sha256 = ["{"1" * 64}"]
mode = "audit"
allow = [{{ profile = "graph", scopes = ["{GRAPH}"] }}]
"""
FIELDS = {event.about.name: {"event", "time", "worker", *event.__dataclass_fields__} for event in EVENTS}


def masked(text: str) -> str:
    """Take out the moments, which differ from run to run."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "MOMENT", text)


def log() -> str:
    """Write the log of the page, as of now: a command looks back from now."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    billing = {"token": "3a09fb88e76a", "uti": "aZ09_-8vQUWFvJk1E2cAAA", "caller": "billing", "scope": GRAPH}
    reports = {"token": "68008a9be4ba", "uti": "kQ27_1-xT0Gc5VnB8s0AAA", "caller": "reports", "scope": VAULT}
    lines = [(0, billing), (18, reports | {"reason": "no entry lists this scope"}), (20, billing)]
    every = {"event": "token", "outcome": "vended", "profile": "graph", "tenant_id": ENVIRON["TENANT_ID"]}
    return "".join(
        json.dumps(every | line | {"time": (begin + timedelta(minutes=minutes)).isoformat()}) + "\n"
        for minutes, line in lines
    )


@pytest.mark.parametrize(("command", "expected"), CONSOLES, ids=[command for command, _ in CONSOLES])
def test_a_command_prints_what_the_page_shows(tmp_path: Path, command: str, expected: str) -> None:
    """Every line as it is, but for the moments."""
    document = block(CONFIGURATION, "# vend.toml").replace(f'["{GRAPH}"]', f'["{GRAPH}", "{VAULT}"]')
    (tmp_path / "vend.toml").write_text(f'callers = "{tmp_path}/callers.toml"\n{document}')
    (tmp_path / "callers.toml").write_text(CALLERS)
    (tmp_path / "app.log").write_text(log())
    environ = ENVIRON | {"VEND_CONFIG": f"{tmp_path}/vend.toml"}
    done = CliRunner().invoke(app, shlex.split(command), env=environ, prog_name="./vend")
    assert masked((done.stdout + done.stderr).replace(str(tmp_path), ".run")) == masked(expected)


@pytest.mark.parametrize("question", ["given", "would-deny"])
def test_the_page_has_the_query_that_the_command_prints(question: str) -> None:
    """So the page and the command cannot say two things."""
    done = CliRunner().invoke(app, ["audit", f"--{question}", "--query"], prog_name="./vend")
    assert done.stdout.partition("\n")[2] in BLOCKS


def test_the_workspace_keeps_lines_for_as_long_as_the_page_says() -> None:
    """90 days, which is how far the commands look back."""
    assert "retentionInDays: 90\n" in (ROOT / "infra" / "main.bicep").read_text()


def queries() -> list[str]:
    """Return every query that a page shows or a command prints."""
    printed = [QUERY, query_of_token("aZ09_-8vQUWFvJk1E2cAAA"), query_of_answer(ENVIRON["TENANT_ID"])]
    return [*BLOCKS, *printed, CONSOLES[-1][1].partition("\n")[2]]


@pytest.mark.parametrize("query", queries())
def test_a_query_names_only_fields_that_its_events_have(query: str) -> None:
    """By the catalogue; a query that names no event is about any."""
    about = re.findall(r'event\.event == "(\w+)"', query) or list(FIELDS)
    assert set(re.findall(r"\bevent\.(\w+)", query)) <= set().union(*(FIELDS[name] for name in about))


@pytest.mark.slow
def test_microsofts_parser_takes_every_query() -> None:
    """And finds fault with a column that the table does not have."""

    def faults(asked: list[str]) -> list[str]:
        command = [str(NODE), str(HERE / "node" / "kusto.mjs")]
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
        found: list[str] = json.loads(done.stdout)
        return found

    assert faults(queries()) == []
    assert faults(["AppTraces | where Massage has 'x'"])
