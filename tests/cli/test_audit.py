"""`./vend audit` beyond --uti: what it counts, and what it leaves out. docs/audit.md shows what it prints."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.docs.test_docs import CONFIGURATION, ENVIRON, block

GRAPH = "https://graph.microsoft.com/.default"
DOCUMENT = f"""
[callers.billing]
key_sha256 = ["{"0" * 64}"]
allow = [{{ profile = "graph", scopes = ["{GRAPH}"] }}]
[callers.old]
key_sha256 = ["{"1" * 64}"]
not_after = 2020-01-01T00:00:00Z
allow = [{{ profile = "graph", scopes = ["{GRAPH}"] }}]
"""


def answer(days_ago: float, **fields: str) -> str:
    """Write the event of an answer that billing got."""
    about = {
        "event": "token",
        "time": (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(),
        "outcome": "vended",
        "caller": "billing",
        "profile": "graph",
        "tenant_id": ENVIRON["TENANT_ID"],
        "scope": GRAPH,
    }
    return json.dumps({**about, **fields}) + "\n"


@pytest.mark.parametrize(
    ("lines", "words", "exit_code", "says"),
    [
        (answer(89), ("--unused",), 0, "Every grant was used."),
        (answer(91), ("--unused",), 1, "1 grant was not used."),
        (answer(91), ("--unused", "--days", "92"), 0, "Every grant was used."),
        (answer(1, outcome="invalid_scope", reason="x"), ("--unused",), 1, "has no token"),
        (answer(1, caller="old"), ("--unused",), 1, "1 grant was not used."),
        (answer(1, scope="api://x/.default"), ("--unused",), 1, "1 grant was not used."),
        (answer(1), ("--would-deny",), 0, "Nobody in "),
        (answer(1, outcome="invalid_scope", reason="x"), ("--would-deny",), 0, "Nobody in "),
        (answer(91, reason="x"), ("--would-deny",), 0, "Nobody in "),
        (answer(1, reason="x"), ("--would-deny",), 1, "  x: 1 time, at "),
        (answer(1, outcome="invalid_scope"), ("--given",), 1, "has no such event"),
        (answer(2, token="a") + answer(1, token="b"), ("--given",), 0, "  token b: 1 time, at "),
        ("no event\n" + answer(1, time="yesterday"), ("--given",), 1, "has no such event"),
    ],
)
def test_an_answer_counts_for_its_question(
    run: Run, tmp_path: Path, lines: str, words: tuple[str, ...], exit_code: int, says: str
) -> None:
    """A token counts within its days; a refusal, another scope and a caller whose time is over do not."""
    (tmp_path / "vend.toml").write_text(f'callers = "{tmp_path}/callers.toml"\n' + block(CONFIGURATION, "# vend.toml"))
    (tmp_path / "callers.toml").write_text(DOCUMENT)
    (tmp_path / "app.log").write_text(lines)
    done = run("audit", *words, **{**ENVIRON, "VEND_CONFIG": f"{tmp_path}/vend.toml"})
    assert (done.exit_code, says in done.output) == (exit_code, True), done.output


@pytest.mark.parametrize("words", [(), ("--given", "--unused"), ("--uti", "aZ09_-8v", "--given")])
def test_one_question_at_a_time(run: Run, words: tuple[str, ...]) -> None:
    """Exactly one of four."""
    assert run("audit", *words).exit_code == 2
