"""The class of every command: its help, and its answer to an argument that it has no place for."""

import re
from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument, TyperCommand

from cli.screen import counted, misuse

_TYPE = re.compile(r" <[^>]*>$")
"""typer writes it behind the name of an argument, also where the name is given; it has no setting for that."""


class Command(TyperCommand):
    """A command that names its arguments by what they are, and its options where a value lacks one."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # typer's own click
        """Write the arguments, then the options, without the types of Python."""
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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # typer's own click
        """Read the command line; end with exit code 2 where an argument is left over.

        What is left over is not shown: it can be a key or a token.
        """
        ctx.allow_extra_args = True  # so that it comes back, and not in a message of typer
        left: list[str] = super().parse_args(ctx, args)
        if not left:
            return left
        places = [str(each.metavar) for each in self.params if isinstance(each, TyperArgument)]
        rest = f"every value{' but ' if places else ''}{', '.join(places)} follows its option"
        raise misuse(
            ctx.command_path,
            f"{counted(len(left), 'argument')} too many; {rest}",
            f"Write {' '.join((ctx.command_path, *self._written()))}",
        )

    def _written(self) -> Iterator[str]:
        """Write each argument, then each option with its value, in brackets where it can be left out."""
        for each in sorted(self.params, key=lambda each: not isinstance(each, TyperArgument)):
            if not getattr(each, "hidden", False):
                name = () if isinstance(each, TyperArgument) else (each.opts[0],)
                value = () if getattr(each, "is_flag", False) else (str(each.metavar),)
                text = " ".join((*name, *value))
                yield text if each.required else f"[{text}]"
