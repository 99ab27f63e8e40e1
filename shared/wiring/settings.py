"""The app settings -> the settings of vend.toml."""

from collections.abc import Mapping
from pathlib import Path

from shared.adapters.file import read_file
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.settings import Settings, parse_settings
from shared.core.documents.toml import DocumentError


def load_settings(environ: Mapping[str, str], *, root: Path) -> Settings:
    """Read the document that `VEND_CONFIG` names, or `vend.toml` beside the app.

    Args:
        environ: the app settings.
        root: the folder where relative paths start.

    Raises:
        DocumentError: with every mistake.
    """
    path = root / environ.get("VEND_CONFIG", "vend.toml")
    try:
        text = read_file(path, most=DOCUMENT_BYTES)
    except OSError as error:
        raise DocumentError([f"{path.name}: cannot be read ({type(error).__name__})"]) from None
    settings = parse_settings(text, environ, name=path.name)
    if settings.sync and settings.sync.is_file and not (root / settings.sync.file).parent.is_dir():
        raise DocumentError(["sync.store: the folder of the file does not exist"])
    return settings
