"""The names, scopes and tenants on the command line; a malformed one ends the command with what would be right."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from cli.documents import readable_scopes
from cli.screen import misuse
from shared.core.names import DEFAULT_SUFFIX, is_default_scope, is_guid

SCOPE = "SCOPE"
"""What the help calls a scope."""


def good_names[T: (str, list[str], str | None, list[str] | None)](
    context: typer.Context, option: typer.CallbackParam, value: T
) -> T:
    """Return what was given as the name of a caller or as several; end with exit code 2 where one cannot be a name.

    Only a slash is looked for: then a scope stands where the name belongs. Whether there is such a caller, the
    documents say.
    """
    for name in _each(value):
        if "/" in name:
            raise misuse(option, f"{name} cannot be the name of a caller", _in_order(context))
    return value


def good_scopes[T: (str, list[str], str | None)](context: typer.Context, option: typer.CallbackParam, value: T) -> T:
    """Return what was given as a scope or as several; end with exit code 2 where one is not resource/.default."""
    for scope in _each(value):
        if not is_default_scope(scope):
            config = context.params.get("config")
            raise misuse(option, f"{scope} is not of the form resource/.default", _instead(scope, config))
    return value


def good_tenants[T: (str | None, list[str] | None)](option: typer.CallbackParam, value: T) -> T:
    """Return what was given as a tenant or as several; end with exit code 2 where one is no GUID."""
    if not all(map(is_guid, _each(value))):
        raise misuse(option, "must be a GUID", "Use the directory (tenant) ID.")
    return value


def listed(scopes: Sequence[str]) -> str:
    """Write scopes as what somebody can choose from."""
    return ", ".join(scopes) or "none"


def _instead(scope: str, config: Path | None) -> str:
    """Return what to write for a text that is no scope: the whole of what it begins with, or the choice there is."""
    known, file = readable_scopes(config)
    meant = [each for each in known if f"{scope}/".startswith(f"{each.removesuffix(DEFAULT_SUFFIX)}/")]
    if meant:
        return f"Write {max(meant, key=len)}"
    if known:
        return f"The scopes of the profiles in {file}: {listed(known)}"
    return "A resource and /.default, for example https://graph.microsoft.com/.default"


def _in_order(context: typer.Context) -> str:
    """Write the command with the name in its place, and the scope behind it where the command has one."""
    name = next(each for each in context.command.params if each.param_type_name == "argument").metavar
    for each in context.command.params:
        if each.metavar == SCOPE and not getattr(each, "hidden", False):
            option = "" if each.param_type_name == "argument" else f"{each.opts[0]} "
            return f"The name comes first: {context.command_path} {name} {option}{SCOPE}"
    return "./vend callers list shows the names."


def _each(value: str | list[str] | None) -> Iterator[str]:
    yield from [value] if isinstance(value, str) else value or []
