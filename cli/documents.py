"""The two documents, as the commands see them: those of `make run` while it runs, else the ones that are deployed."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.document_store import BlobStore, FileStore, Store, Version
from cli.operator_login import operator_token
from cli.patience import DEFAULT_PATIENCE, Patience
from cli.screen import BAD, counted, say, stop
from shared.adapters.file import read_file
from shared.adapters.http import read_roots
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.places import is_url
from shared.core.documents.settings import ON_AZURE, Settings, examine_settings, upstream_mistakes
from shared.core.documents.toml import DocumentError, parse_toml
from shared.core.names import is_default_scope
from shared.core.rules import NOTHING, items, tables

ROOT = Path(__file__).parents[1]
RUNNING = Path(".run")
"""The folder that `make run` writes, and removes at its end."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        resolve_path=True,
        is_eager=True,  # the checks of other options look into it
        help="A vend.toml. Without it: what VEND_CONFIG names, else that of a running `make run`, else ./vend.toml.",
    ),
]


@dataclass(frozen=True, slots=True)
class Documents:
    """Both documents, good; how they are called; and where the callers lie, as they were read there."""

    settings: Settings
    callers: CallersDocument
    settings_file: str
    callers_file: str
    config: Path
    store: Store
    version: Version

    @property
    def host_keys(self) -> Path | None:
        """The file in which `make run` keeps the keys of its host; None if vend.toml is not that of a `make run`."""
        made = self.config.parent / "host.keys.json"
        return made if made.exists() else None

    def key_file(self, caller: str) -> Path | None:
        """Where the key of a caller lies in a `make run`; None elsewhere."""
        return self.config.parent / f"{caller}.key" if self.host_keys else None


def default_config(environ: Mapping[str, str], *, root: Path) -> Path:
    """Find the vend.toml that is meant where none is named."""
    if named := environ.get("VEND_CONFIG"):
        return root / named
    running = root / RUNNING / "vend.toml"
    return running if running.exists() else root / "vend.toml"


class NotRead(Exception):
    """The settings are good, and the callers document is in a blob that was not to be read."""

    def __init__(self, settings: Settings, *, settings_file: str, callers_file: str) -> None:
        super().__init__(callers_file)
        self.settings = settings
        self.settings_file = settings_file
        self.callers_file = callers_file


class Mistaken(Exception):
    """The documents have mistakes.

    Args:
        by_file: the mistakes of each file.
        is_implied: whether nobody named the vend.toml: the local one may have been meant.
        unchecked: the file that was not held against the profiles, because those have mistakes.
        warnings: what is no mistake.
    """

    def __init__(
        self,
        by_file: Mapping[str, list[str]],
        *,
        is_implied: bool,
        unchecked: str | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        super().__init__(", ".join(by_file))
        self.by_file = by_file
        self.warnings = warnings
        self._is_implied = is_implied
        self._unchecked = unchecked

    def show(self, *, error: bool = False) -> None:
        """Print every mistake under its file; to stderr where it is not what was asked for."""
        tell = partial(say, error=error)
        found = [mistake for mistakes in self.by_file.values() for mistake in mistakes]
        unset = dict.fromkeys(re.findall(r"the app setting (\w+) is not set", "\n".join(found)))
        if unset and self._is_implied:
            tell("`make run` is not running here. Without it, this is about the documents that are deployed.")
        for file, mistakes in self.by_file.items():
            if mistakes:
                tell(file)
            elif file == self._unchecked:
                tell(f"{file}: good so far; its profiles are checked once vend.toml is good")
            for mistake in mistakes:
                tell(f"  {mistake}")
        for warning in self.warnings:
            tell(f"  warning: {warning}")
        tell(f"{counted(len(found), 'mistake')}.", style=BAD)
        if unset:
            settings = " ".join(f"{name}=..." for name in unset)
            tell(f"App settings come from the environment here: {settings} ./vend check")


def read_documents(
    config: Path | None,
    *,
    absent: bytes | None = None,
    to_mend: bool = False,
    patience: Patience = DEFAULT_PATIENCE,
) -> Documents:
    """Read both, a callers document in a blob too, or print every mistake of both and end with exit code 1.

    The arguments are those of `examine_documents`.
    """
    try:
        return examine_documents(config, absent=absent, to_mend=to_mend, patience=patience)
    except Mistaken as found:
        found.show()
        raise typer.Exit(1) from None


def examine_documents(
    config: Path | None,
    *,
    absent: bytes | None = None,
    remote: bool = True,
    to_mend: bool = False,
    patience: Patience = DEFAULT_PATIENCE,
) -> Documents:
    """Read both.

    `${NAME}` comes from the environment, and relative paths start where the app is, as they do in the app.

    Args:
        config: a vend.toml; None for the one that is meant.
        absent: what stands for a callers document that is not there; None where that is a mistake.
        remote: whether a blob may be read, with the operator's login.
        to_mend: whether mistakes may stand that the app starts with: in entries of callers, or about upstreams.
        patience: how to wait where a failure to read a blob may pass.

    Raises:
        NotRead: the callers document is in a blob, and `remote` is false.
        Mistaken: they have mistakes.
    """
    end = partial(Mistaken, is_implied=config is None and "VEND_CONFIG" not in os.environ)
    config = config or default_config(os.environ, root=ROOT)
    # What Azure sets is set by other containers too; this command never runs there.
    here = {name: value for name, value in os.environ.items() if name not in ON_AZURE}
    with chdir(ROOT):
        try:
            text = _text(config)
            settings, mistakes = examine_settings(text, here, name=config.name)
        except DocumentError as error:
            raise end({shown(config): error.mistakes}) from None
        mistakes += _roots_mistakes(settings)
        offers = None if mistakes else settings.offers
        issuers = None if mistakes else settings.tenants_of_issuers
        if not to_mend:
            mistakes += upstream_mistakes(settings)
        if settings.callers is NOTHING or (mistakes and is_url(settings.callers)):
            raise end({shown(config): mistakes})
        if is_url(settings.callers) and not remote:
            raise NotRead(settings, settings_file=shown(config), callers_file=_written(text, settings.callers))
        name = settings.callers if is_url(settings.callers) else shown(ROOT / _written(text, settings.callers))
        store = _store(settings, patience, name=name)
        version = store.read()
        content = absent if version.content is None else version.content
        if content is None:
            missing = f"{name.rpartition('/')[2]}: is not there"
            raise end({shown(config): mistakes, name: [missing]})
        try:
            callers = parse_callers(content, offers, name=name.rpartition("/")[2], issuers=issuers)
        except DocumentError as error:
            raise end({shown(config): mistakes, name: error.mistakes}) from None
    if mistakes or (callers.mistakes and not to_mend):
        of_callers = {name: list(callers.mistakes)}
        unchecked = None if offers else name
        raise end({shown(config): mistakes, **of_callers}, unchecked=unchecked, warnings=callers.warnings)
    return Documents(settings, callers, shown(config), name, config, store, version)


def readable_scopes(config: Path | None) -> tuple[list[str], str]:
    """Return the scopes that a vend.toml offers to callers, whatever else is wrong with it, and the name of the file.

    Args:
        config: a vend.toml; None for the one that is meant.
    """
    config = config or default_config(os.environ, root=ROOT)
    try:
        settings, _ = examine_settings(_text(config), os.environ, name=config.name)
    except DocumentError:
        return [], shown(config)
    return scopes_of(settings), shown(config)


def scopes_of(settings: Settings) -> list[str]:
    """Return each scope that a profile offers to callers; what was wrong in the settings may be `NOTHING`."""
    offering = [profile for profile in tables(settings.profiles).values() if profile.vendable is True]
    return list(
        dict.fromkeys(scope for profile in offering for _, scope in items(profile.scopes) if is_default_scope(scope))
    )


def unknown(documents: Documents, *names: str) -> typer.Exit:
    """Print that there are no such callers, and which there are."""
    known = ", ".join(documents.callers.callers) or "nobody"
    return stop(f"{documents.callers_file} has no caller {', '.join(names)}. It has: {known}")


def shown(path: Path) -> str:
    """Name a file: those of this clone from its root."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _text(path: Path) -> bytes:
    try:
        return read_file(path, most=DOCUMENT_BYTES)
    except OSError as error:
        raise DocumentError([f"{path.name}: cannot be read ({type(error).__name__})"]) from None


def _roots_mistakes(settings: Settings) -> list[str]:
    if settings.network is NOTHING or settings.network.ca_file is NOTHING:
        return []
    try:
        read_roots(settings.network.ca_file)
    except DocumentError as error:
        return error.mistakes
    return []


def _written(text: bytes, callers: str) -> str:
    """Return `callers` as vend.toml has it, where `${NAME}` stands for a value that may be a secret."""
    found = parse_toml(text, name="").get("callers")
    return found if isinstance(found, str) else callers


def _store(settings: Settings, patience: Patience, *, name: str) -> Store:
    if is_url(settings.callers):
        ca_file = settings.network.ca_file
        return BlobStore(settings.callers, token=operator_token, ca_file=ca_file, patience=patience)
    return FileStore(ROOT / settings.callers, name=name)
