"""The help of a command, in which an argument has the name of the thing that it is, and no type of Python."""

import re
from typing import Any

from typer.core import TyperArgument, TyperCommand

_TYPE = re.compile(r" <[^>]*>$")
"""typer writes it behind the name of an argument, also where the name is given; it has no setting for that."""


class PlainHelp(TyperCommand):
    """A command without the types of its arguments in its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # typer's own click
        """Write the arguments, then the options."""
        arguments, options = [], []
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                name, text = record
                if isinstance(parameter, TyperArgument):
                    arguments.append((_TYPE.sub("", name), text))
                else:
                    options.append((name, text))
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
