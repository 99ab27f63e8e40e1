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
from cli.cloud import cloud
from cli.command import Command
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
callers = typer.Typer(help="Say who may call vend, and for what.", no_args_is_help=True)


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
    """Operate vend: see how it is, ask it for tokens, say who may call it, and rehearse outages.

    Start with `make run`, then ./vend status. docs/cli.md has an example of each command.
    """


app.command("check", short_help="Find every mistake in the two documents.")(check)
app.command("status", short_help="Say whether the app can serve, on one screen.")(status)
app.command("watch", short_help="Show events as they come, and what a caller gets.")(watch)
app.command("token", short_help="Ask for a token, and show what is in it.")(token)
app.command("exec", short_help="Run a program that gets its tokens from vend.")(execute)
app.command("env", short_help="Print the variables that `exec` sets, for a shell.")(environment)
app.add_typer(callers, name="callers")
callers.command("add", short_help="Add callers, and make their keys.")(add)
callers.command("roll", short_help="Give callers a second key, then remove the first.")(roll)
callers.command("revoke", short_help="Take callers and their keys away.")(revoke)
callers.command("rekey", short_help="Give new keys to callers whose keys the host lost.")(rekey)
callers.command("allow", short_help="Let a caller have more scopes.")(allow)
callers.command("deny", short_help="Take scopes from a caller.")(deny)
callers.command("set", short_help="Change the rate, the mode or the end of a caller.")(change)
callers.command("purge", short_help="Make every worker drop its cached tokens.")(purge)
callers.command("list", short_help="List the callers and what each may have.")(show)
callers.command("explain", short_help="Say which rule decides about a request, and why.")(explain)
app.command("plan", short_help="Say what `apply` would change.")(plan)
app.command("apply", short_help="Make the callers what a file says.")(apply)
app.command("sync", short_help="Sync the directory now.")(sync)
app.command("audit", short_help="Name the callers that got a token.")(audit)
app.command("cloud", short_help="Run a program beside a local cloud of its own.")(cloud)
app.command("break", short_help="Rehearse an outage in the local cloud.")(break_part)
app.command("mend", short_help="End that outage.")(mend_part)
for each in (*app.registered_commands, *callers.registered_commands):
    each.cls = Command

if __name__ == "__main__":
    app(prog_name="./vend")
