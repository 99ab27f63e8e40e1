"""A release: version, changelog, pages and package agree."""

import re
import tomllib
from datetime import date
from pathlib import Path

from scripts.package import archive_name

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PARTS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    """Below what is not released, newest first, each with its day."""
    unreleased, *releases = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert unreleased == "Unreleased"
    found = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d\d-\d\d)", release) for release in releases]
    days = [(tuple(map(int, each.groups()[:3])), date.fromisoformat(each[4])) for each in found if each]
    assert len(days) == len(releases)
    assert days == sorted(days, reverse=True)
    assert ".".join(map(str, days[0][0])) == VERSION


def test_a_change_stands_in_its_part() -> None:
    """Each release has parts of the same names, in one order, and nothing outside of them but an introduction."""
    for release in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        introduction, *parts = re.split(r"^### ", release, flags=re.MULTILINE)
        assert "\n- " not in introduction
        names = [part.partition("\n")[0] for part in parts]
        assert names == [name for name in PARTS if name in names]


def test_the_package_has_the_version_in_its_name() -> None:
    """And the page that says how to make it, and how another repository checks out this version."""
    page = (ROOT / "docs" / "local.md").read_text()
    assert archive_name(ROOT) == f"vend-{VERSION}.zip"
    assert re.findall(r"dist/(vend-\d\S+\.zip)", page) == [archive_name(ROOT)]
    assert re.findall(r"ref: v(\S+)", page) == [VERSION]
