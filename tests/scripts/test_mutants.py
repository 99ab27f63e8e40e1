from pathlib import Path

import pytest

from scripts.mutants import ELSEWHERE, ROOT, Change, examine, judges_of, mutants

FILE = "shared/core/rule.py"


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("1 < 2 <= 3", ["1 <= 2 <= 3", "1 > 2 <= 3", "1 < 2 < 3", "1 < 2 >= 3"]),
        ("1 == 2 or 3 is not 4", ["1 == 2 and 3 is not 4", "1 != 2 or 3 is not 4", "1 == 2 or 3 is 4"]),
        ("1 not in (2,)", ["1 in (2,)"]),
        ("9 - max(1, 2)", ["9 + max(1, 2)", "9 - min(1, 2)"]),
        ("left += 1", ["left -= 1"]),
        ("2 * 3", []),
    ],
)
def test_one_thing_is_changed_at_a_time(source: str, changed: list[str]) -> None:
    """Each comparison, sign, extreme and junction is replaced by each of its neighbours, and the rest stands."""
    assert [mutant.source for mutant in mutants(FILE, source)] == changed


@pytest.mark.parametrize(("blind", "different"), [("a", {"b"}), ("b", {"a"})])
def test_a_field_of_a_key_is_dropped_from_equality_and_hash(blind: str, different: set[str]) -> None:
    """Two keys that differ in the dropped field alone are one key, by every way to ask; the others count as before."""
    source = "from typing import NamedTuple\nclass EntryKey(NamedTuple):\n    a: str\n    b: str\n"
    (mutant,) = (one for one in mutants(FILE, source) if one.change.what == f"EntryKey -> EntryKey without {blind}")
    room: dict[str, type] = {}
    exec(mutant.source, room)  # noqa: S102  # what the script wrote
    key = room["EntryKey"]("1", "1")
    for field in ("a", "b"):
        other = key._replace(**{field: "2"})
        assert (key != other) is (not key == other) is (len({key, other}) == 2) is (field in different)  # noqa: SIM201


def test_a_key_that_is_compared_by_no_field_keeps_them() -> None:
    """Two objects of such a class are never equal, whatever their fields."""
    source = "@dataclass(frozen=True, eq={})\nclass EntryKey:\n    a: str\n"
    assert [len(list(mutants(FILE, source.format(eq)))) for eq in (True, False)] == [1, 0]


@pytest.mark.parametrize("room", ["core", "tokens", "credentials", "callers", "directory"])
def test_every_module_has_tests_that_judge_it(room: str) -> None:
    """By its path or by the list of the script; a module without any mutant needs none."""
    files = [file.relative_to(ROOT).as_posix() for file in ROOT.glob(f"shared/{room}/**/*.py")]
    changeable = [file for file in (*files, *ELSEWHERE) if any(mutants(file, (ROOT / file).read_text()))]
    judges = {test for file in changeable for test in judges_of(ROOT, file)}
    assert [test for test in judges if not (ROOT / test).is_file()] == []


@pytest.mark.slow
def test_what_no_test_notices_is_named(tmp_path: Path) -> None:
    """A surviving mutant is a complaint unless it is listed; a listed one that is noticed, or is gone, is one too."""
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow', 'nightly']\n",
        "shared/core/rule.py": "def is_late(age):\n    return age > 3\n",
        "tests/conftest.py": "from hypothesis import settings\nsettings.register_profile('mutants')\n",
        "tests/core/test_rule.py": "from shared.core.rule import is_late\n\ndef test():\n    assert is_late(5)\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    boundary, opposite = (Change(FILE, "is_late", f"age > 3 -> age {sign} 3") for sign in (">=", "<"))
    gone = opposite._replace(where="is_early")
    count, complaints = examine(tmp_path, (), FILE, [])
    assert (count, complaints) == (2, [f"{FILE}:2: is_late: age > 3 -> age >= 3: no test notices"])
    _, complaints = examine(tmp_path, (), FILE, [boundary, opposite, gone])
    assert [complaint.rpartition(": ")[2] for complaint in complaints] == [
        "is listed as changing nothing, and a test notices it",
        "is listed as changing nothing, and there is no such mutant",
    ]
