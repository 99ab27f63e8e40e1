"""`vend` at the root: finds its home, makes the environment where there is none, and then is not noticed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, launch

# Stands for the environment's Python: shows what it was started with, but for the options and the code before that.
PYTHON = """#!/bin/sh
shift 4
echo "$*"
exit 3
"""
# Stands for what installs the packages.
MAKEFILE = """
.venv/local .venv/dev:
\t@echo installing; mkdir -p .venv/bin; cp python .venv/bin/python; touch $@
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A clone with a Makefile that installs nothing."""
    home = tmp_path / "clone of vend"
    home.mkdir()
    shutil.copy(ROOT / "vend", home)
    (home / "Makefile").write_text(MAKEFILE)
    (home / "python").write_text(PYTHON)
    (home / "python").chmod(0o755)
    return home


def start(command: Path, cwd: Path) -> tuple[int, str, str]:
    """Run the launcher; tell its exit code, output and errors."""
    done = subprocess.run([command, "check", "a b"], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_first_call_makes_the_environment_and_the_second_says_nothing_of_it(home: Path) -> None:
    """What is said about it goes to stderr; arguments and exit code pass through as they are."""
    code, output, errors = start(home / "vend", home)
    assert (code, output) == (3, f"{home} check a b\n")
    assert errors == "installing\n"
    assert start(home / "vend", home) == (3, output, "")


def test_it_works_from_anywhere_and_by_symbolic_links(home: Path, tmp_path: Path) -> None:
    """A link on the PATH, and a relative link to that one, lead home."""
    start(home / "vend", home)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "v").symlink_to("../clone of vend/vend")
    (tmp_path / "link").symlink_to(tmp_path / "bin" / "v")
    for command in (tmp_path / "bin" / "v", tmp_path / "link", Path("../link")):
        assert start(command, tmp_path / "bin") == (3, f"{home} check a b\n", "")


def test_the_test_tools_of_a_contributor_stay(home: Path) -> None:
    """Where the environment is that of the tests, it is kept as that one: the other would take the tools away."""
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "dev").touch()
    shutil.copy(home / "python", home / ".venv" / "bin")
    assert start(home / "vend", home)[2] == ""
    assert not (home / ".venv" / "local").exists()


def test_an_environment_that_cannot_be_made_ends_it(home: Path) -> None:
    """What the installation said is the last that is read."""
    (home / "Makefile").write_text(".venv/local:\n\t@echo no Python here; exit 1\n")
    code, output, errors = start(home / "vend", home)
    assert (code, output) == (1, "")
    assert "no Python here" in errors


@pytest.mark.slow
def test_nothing_of_the_current_folder_is_run(tmp_path: Path) -> None:
    """A package `cli` in the current folder is not ours, and relative paths in the documents start at home."""
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__main__.py").write_text("print('C4N4RY')")
    (tmp_path / "vend.toml").write_text("callers = 'callers.toml.example'")
    done = launch("check", "--config", "vend.toml", environ={}, cwd=tmp_path)
    assert done.stdout == (
        f"{tmp_path}/vend.toml\n  profiles: is missing\n"
        "callers.toml.example: good so far; its profiles are checked once vend.toml is good\n1 mistake.\n"
    )
    assert (done.returncode, done.stderr) == (1, "")
