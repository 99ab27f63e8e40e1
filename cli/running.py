"""Where a `make run` or a `make cloud` of this clone listens, as it has written down itself."""

from collections.abc import Callable

import typer

from cli.documents import ROOT, RUNNING
from cli.http import json_object
from shared.adapters.file import read_file
from shared.core.documents.content import DOCUMENT_BYTES


def address_of_run(part: str) -> str | None:
    """Return the address of a part, `app` or `control`; None where nothing of the kind runs."""
    try:
        found = json_object(read_file(ROOT / RUNNING / "addresses.json", most=DOCUMENT_BYTES)).get(part)
    except OSError:
        return None
    return found if isinstance(found, str) else None


def unless_named(part: str) -> Callable[[typer.Context, typer.CallbackParam, str], str]:
    """Return what an option stands for: where nobody has named an address, that of the run of this clone."""

    def found(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
        source = context.get_parameter_source(option.name or "")
        is_named = source is not None and source.name != "DEFAULT"
        return value if is_named else address_of_run(part) or value

    return found
