"""`./vend callers explain --correlation-id`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator.tour.site import Site
from tests.cli.conftest import Run, launch
from tests.tables import case_id, cases

ID = "00247c49-88b0-4b49-83e1-d12496541153"
EXPLAIN = ("callers", "explain", "--correlation-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The event of an answer; tests/data/past_answers.toml describes the fields."""

    id: str
    event: Mapping[str, str | int]
    exit: int
    says: tuple[str, ...]
    never: str = "\0"


def line(correlation_id: str, event: Mapping[str, str | int], kind: str = "token") -> str:
    """Write an event as the app does."""
    about = {"event": kind, "time": "2026-11-23T14:43:17.123+00:00", "correlation_id": correlation_id}
    return json.dumps({**about, **event}) + "\n"


@pytest.mark.parametrize("case", cases("past_answers.toml", Case), ids=case_id)
def test_an_answer_is_explained_by_its_event(run: Run, tmp_path: Path, case: Case) -> None:
    """What was asked, what was answered, why, and the next step; other lines of the log do not matter."""
    log = tmp_path / "app.log"
    others = line("11111111-1111-1111-1111-111111111111", {"caller": "other"}) + line(
        ID, {"caller": "other"}, "acquire"
    )
    deep = '{"event":' + "[" * 100_000  # a line that no parser of JSON follows to its end
    log.write_text(f"Worker started {{\n{deep}\n{others}[info] {line(ID, case.event)}{others}")
    done = run(*EXPLAIN, ID.upper(), "--log", str(log))
    assert [said for said in case.says if said not in done.stdout.splitlines()] == []
    assert [told for told in done.stdout.splitlines() if told.startswith(case.never)] == []
    assert (done.exit_code, "other" in done.stdout, done.stderr) == (case.exit, False, "")


@pytest.mark.slow
def test_what_a_refusal_names_next_gives_the_reason(site: Site) -> None:
    """The id of an answer that the app has just given leads to its line in the log of the same `make run`."""
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / "billing.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
    }
    refused = launch("token", "billing", "--scope", "https://vault.azure.net/.default", environ=environ)
    found = re.search(r"^correlation_id  (\S+)$", refused.stderr, re.MULTILINE)
    assert found
    done = launch(*EXPLAIN, found[1], environ=environ)
    assert done.returncode == 1
    assert "reason  no entry lists this scope\n" in done.stdout


def test_in_azure_a_query_finds_it(run: Run, tmp_path: Path) -> None:
    """Without a log, or with one that has no such event, the query is there to be pasted, with this id in it."""
    (tmp_path / "vend.toml").touch()
    without = run(*EXPLAIN, ID, VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert without.exit_code == 0
    assert f'AppTraces | where Message has "{ID}" | extend event = parse_json(Message)' in without.stdout
    (tmp_path / "app.log").write_text("nothing\n")
    nothing = run(*EXPLAIN, ID, VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert (nothing.exit_code, nothing.stdout.splitlines()[1]) == (1, without.stdout.splitlines()[1])


@pytest.mark.parametrize("harmful", ['x" | take 1', f"{ID}\n", "", "x" * 36])
def test_only_an_id_gets_into_a_query(run: Run, tmp_path: Path, harmful: str) -> None:
    """What is no GUID is refused, whatever it would do to the query."""
    done = run(*EXPLAIN, harmful, VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("--correlation-id: must be the GUID of an answer\n")


@pytest.mark.parametrize(
    "words",
    [("billing",), ("billing", "--scope", "s", "--correlation-id", ID), ("--scope", "s"), ()],
    ids=["neither", "both", "nobody", "nothing"],
)
def test_one_question_at_a_time(run: Run, words: tuple[str, ...]) -> None:
    """Exactly one of --scope, which needs a NAME, and --correlation-id."""
    assert run("callers", "explain", *words).exit_code == 2


def test_a_log_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    """One line and exit code 1."""
    done = run(*EXPLAIN, ID, "--log", f"{tmp_path}/none")
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path}/none cannot be read (FileNotFoundError)\n")


UTI = "aZ09_-8vQUWFvJk1E2cAAA"


@pytest.mark.parametrize(
    ("callers", "exit_code", "says"),
    [
        (("billing", "billing"), 0, "2 times, first 2026-11-23T14:43:17.123+00:00"),
        (("billing", "reports"), 1, "2 callers share this token"),
        ((), 1, "has no such event"),
    ],
    ids=["one", "shared", "none"],
)
def test_a_token_leads_to_its_caller(
    run: Run, tmp_path: Path, callers: tuple[str, ...], exit_code: int, says: str
) -> None:
    """By the id that an API's log has; a refusal, and another token, are somebody else's."""
    facts = {"uti": UTI, "outcome": "vended", "scope": "api://x/.default"}
    others = line(ID, {**facts, "uti": UTI + "x", "caller": "other"}) + line(
        ID, {"uti": UTI, "outcome": "x", "caller": "other"}
    )
    log = tmp_path / "app.log"
    log.write_text(others + "".join(line(ID, {**facts, "caller": caller}) for caller in callers))
    done = run("audit", "--uti", UTI, "--log", str(log))
    assert (done.exit_code, says in done.output, "other" in done.output) == (exit_code, True, False)
