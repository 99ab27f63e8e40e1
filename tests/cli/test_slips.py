"""What a slip on the command line is told: whose fault it is, and the words that would be right."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator.tour.site import SCOPE, SHOP_SCOPES
from tests.cli.conftest import Run
from tests.cli.desk import OLD, Desk
from tests.tables import case_id, cases

ALLOW = ("callers", "allow", "billing", "graph")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """A command, and how its stderr ends; tests/data/cli_slips.toml describes the fields."""

    id: str
    ask: str
    exit: int
    err: tuple[str, ...]


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
@pytest.mark.parametrize("slip", cases("cli_slips.toml", Slip), ids=case_id)
def test_a_slip_is_told_with_what_would_be_right(desk: Desk, slip: Slip) -> None:
    """FND-E2. The last lines say it; the document and the keys stay."""
    names = {**dict(zip("ABC", (SCOPE, *SHOP_SCOPES), strict=True)), "FILE": str(desk.folder / "vend.toml")}

    def written(text: str) -> str:
        return re.sub(r"\b(A|B|C|FILE)\b", lambda found: names[found[0]], text)

    before = desk.document
    done = desk.do(*shlex.split(written(slip.ask)))
    assert done.stderr.splitlines()[-len(slip.err) :] == [written(line) for line in slip.err]
    assert (done.exit_code, done.stdout) == (slip.exit, "")
    assert (desk.document, desk.held) == (before, {"vend-billing": OLD})


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_the_scopes_are_those_of_the_file_that_is_named(desk: Desk) -> None:
    """`--config` counts wherever it stands."""
    named = desk.folder / "named.toml"
    named.write_text((desk.folder / "vend.toml").read_text().replace(f'"{SCOPE}"', '"api://named/.default"'))
    done = desk.do(*ALLOW, "--config", str(named))
    assert done.stderr.endswith(
        f"The scopes of the profiles in {named}: {', '.join(['api://named/.default', *SHOP_SCOPES])}\n"
    )


@pytest.mark.parametrize("content", ["x", "", 'profiles.a.scopes = ["a"]'], ids=["no TOML", "empty", "malformed"])
def test_where_no_scope_can_be_read_an_example_is_there(run: Run, tmp_path: Path, content: str) -> None:
    """A slip is no moment to hear of the mistakes of a file."""
    (tmp_path / "vend.toml").write_text(content)
    done = run(*ALLOW, VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert done.stderr.splitlines()[1:] == [
        "A resource and /.default, for example https://graph.microsoft.com/.default"
    ]
    assert done.exit_code == 2
