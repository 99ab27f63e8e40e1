import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import directory, documents, handler, identity, outage, report, strangers
from benchmarks.rows import QUICK, Goal, Row

COMMITTED = Path(report.__file__).parent
FIELDS = {"id", "ours", "baseline", "unit", "ratio", "goal", "met"}


def row(*, ours: float, baseline: float, goal: Goal) -> Row:
    """Make a row of which only the figures matter."""
    return Row(id="x", what="x", unit="us", ours=ours, others={"msal": baseline}, against="msal", goal=goal)


@pytest.mark.parametrize(
    ("ours", "baseline", "goal", "met"),
    [
        (40.0, 100.0, Goal("ratio", "<=", 0.4), True),
        (41.0, 100.0, Goal("ratio", "<=", 0.4), False),
        (70.0, 100.0, Goal("ratio", ">=", 0.7), True),
        (69.0, 100.0, Goal("ratio", ">=", 0.7), False),
        (0.0, 0.0, Goal("ours", "<=", 0), True),
        (1.0, 0.0, Goal("ratio", "<=", 9), False),
        (99.9, 10.0, Goal("ours", ">=", 100), False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_not_beyond(ours: float, baseline: float, goal: Goal, *, met: bool) -> None:
    """A goal judges the figure that it names, in its direction; a ratio to nothing meets none."""
    assert row(ours=ours, baseline=baseline, goal=goal).met is met


@pytest.mark.slow
def test_cheap_benchmarks_run_and_can_be_read_back(tmp_path: Path) -> None:
    """What five real benchmarks measure, in small, is written as JSON, Markdown and SVG, and read back unchanged."""
    rows = [row for subject in (outage, handler, strangers, identity, documents) for row in subject.rows(QUICK)]
    report.write(rows, tmp_path)
    assert report.read(tmp_path) == rows
    served = next(found for found in rows if found.id == "outage")
    assert (served.ours, served.met) == (100.0, True)
    assert all(f"`{found.id}`" in (tmp_path / "results.md").read_text() for found in rows)
    bars = ET.parse(tmp_path / "results.svg").findall(".//{http://www.w3.org/2000/svg}rect")  # noqa: S314  # our own
    assert len(bars) == len(rows) + 1


def test_the_committed_results_are_whole() -> None:
    """The three files that are committed tell the same rows, each with every field that programs read."""
    records = json.loads((COMMITTED / "results.json").read_text())
    assert len({record["id"] for record in records}) == len(records)
    assert all(record.keys() >= FIELDS for record in records)
    rows = report.read(COMMITTED)
    assert report.table(rows) in (COMMITTED / "results.md").read_text()
    assert [found.met for found in rows] == [record["met"] for record in records]


@pytest.mark.nightly
def test_benchmarks_with_servers_run(tmp_path: Path) -> None:
    """Those that need an Entra in another process, or a host, run too, and only what was asked for is measured."""
    subjects = ["refresh-window", "stampede", "end-to-end", "hit", "uncached"]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path)]
    command += [word for subject in subjects for word in ("--only", subject)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=COMMITTED.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert {found.id for found in report.read(tmp_path)} == {
        "refresh-window",
        "refresh-window-requests",
        "stampede",
        "stampede-wait",
        "end-to-end",
        "end-to-end-msal",
        "hit",
        "hit-floor",
        "hit-many",
        "uncached",
    }


@pytest.mark.nightly
def test_the_benchmark_of_the_directory_runs() -> None:
    """It copies, compares and asks both databases, in small; nothing of a copy without a change is written."""
    rows = {row.id: row for row in directory.rows(QUICK)}
    assert rows.keys() == {
        "directory-speed",
        "directory-memory",
        "directory-unchanged",
        "directory-queries",
        "directory-queries-postgresql",
    }
    assert rows["directory-unchanged"].ours == 0
