"""The commands, put together."""

import tomllib
from typing import Annotated

import typer

from cli.apply import apply
from cli.audit import audit
from cli.callers import add, revoke, roll
from cli.callers_change import allow, change, deny, purge
from cli.callers_list import show
from cli.check import check
from cli.documents import ROOT
from cli.execute import environment, execute
from cli.explain import explain
from cli.faults import break_part, mend_part
from cli.plan import plan
from cli.rekey import rekey
from cli.status import status
from cli.sync import sync
from cli.token import token
from cli.watch import watch

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
callers = typer.Typer(help="Who may have what.", no_args_is_help=True)


def _print_version(value: bool) -> None:  # noqa: FBT001  # as typer calls it
    if value:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        typer.echo(f"vend {project['version']}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[  # its callback prints it
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Look at vend, ask it, and break what it depends on."""


app.command("check")(check)
app.command("status")(status)
app.command("watch")(watch)
app.command("token")(token)
app.command("exec")(execute)
app.command("env")(environment)
app.add_typer(callers, name="callers")
callers.command("add")(add)
callers.command("roll")(roll)
callers.command("revoke")(revoke)
callers.command("rekey")(rekey)
callers.command("allow")(allow)
callers.command("deny")(deny)
callers.command("set")(change)
callers.command("purge")(purge)
callers.command("list")(show)
callers.command("explain")(explain)
app.command("plan")(plan)
app.command("apply")(apply)
app.command("sync")(sync)
app.command("audit")(audit)
app.command("break")(break_part)
app.command("mend")(mend_part)

if __name__ == "__main__":
    app(prog_name="./vend")
