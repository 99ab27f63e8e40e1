"""The two documents, as the commands see them: those of `make run` while it runs, else the ones that are deployed."""

import os
import re
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.screen import BAD, counted, say, stop
from shared.callers import CallersDocument, read_callers
from shared.core.document import NOTHING
from shared.settings import ON_AZURE, Settings, SettingsError, examine_settings, is_url

ROOT = Path(__file__).parents[1]
RUNNING = Path(".run")
"""What `make run` writes and takes away again."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        resolve_path=True,
        help="A vend.toml. Without it: what VEND_CONFIG names, else that of a running `make run`, else ./vend.toml.",
    ),
]


@dataclass(frozen=True, slots=True)
class Documents:
    """Both documents, good, and the names of their files."""

    settings: Settings
    callers: CallersDocument
    settings_file: str
    callers_file: str


def default_config(environ: Mapping[str, str], *, root: Path) -> Path:
    """Find the vend.toml that is meant where none is named."""
    if named := environ.get("VEND_CONFIG"):
        return root / named
    running = root / RUNNING / "vend.toml"
    return running if running.exists() else root / "vend.toml"


def read_documents(config: Path | None) -> Documents:
    """Read both, or print every mistake of both and end with exit code 1.

    `${NAME}` comes from the environment, and relative paths start where the app is, as they do in the app.
    """
    config = config or default_config(os.environ, root=ROOT)
    # What Azure sets is set by other containers too; this command never runs there.
    here = {name: value for name, value in os.environ.items() if name not in ON_AZURE}
    with chdir(ROOT):
        try:
            settings, mistakes = examine_settings({**here, "VEND_CONFIG": str(config)}, root=ROOT)
        except SettingsError as error:
            raise _end({_shown(config): error.mistakes}) from None
        if settings.callers is NOTHING or (mistakes and is_url(settings.callers)):
            raise _end({_shown(config): mistakes})
        if is_url(settings.callers):
            raise stop(
                f"{_shown(config)} is good; its callers lie in a blob, and this command reads files",
                "download the blob, and name the file: CALLERS_URL=callers.toml ./vend check",
            )
        path = ROOT / settings.callers
        try:
            callers = read_callers(path, None if mistakes else settings.offers)
        except SettingsError as error:
            raise _end({_shown(config): mistakes, _shown(path): error.mistakes}) from None
    if mistakes:
        raise _end({_shown(config): mistakes, _shown(path): []})
    return Documents(settings, callers, _shown(config), _shown(path))


def _end(by_file: Mapping[str, list[str]]) -> typer.Exit:
    for file, mistakes in by_file.items():
        say(file if mistakes else f"{file}: none so far; its profiles are looked at once those of vend.toml are good")
        for mistake in mistakes:
            say(f"  {mistake}")
    found = [mistake for mistakes in by_file.values() for mistake in mistakes]
    say(f"{counted(len(found), 'mistake')}.", style=BAD)
    unset = dict.fromkeys(re.findall(r"the app setting (\w+) is not set", "\n".join(found)))
    if unset:
        say(f"App settings come from the environment here: {' '.join(f'{name}=...' for name in unset)} ./vend check")
    return typer.Exit(1)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
