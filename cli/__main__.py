"""The commands, put together."""

import typer

from cli.audit import audit
from cli.callers import add, revoke, roll
from cli.callers_change import allow, change, deny, purge
from cli.callers_list import show
from cli.check import check
from cli.execute import environment, execute
from cli.explain import explain
from cli.faults import break_part, mend_part
from cli.sync import sync
from cli.token import token

app = typer.Typer(
    help="Look at vend, ask it, and break what it depends on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
callers = typer.Typer(help="Who may have what.", no_args_is_help=True)

app.command("check")(check)
app.command("token")(token)
app.command("exec")(execute)
app.command("env")(environment)
app.add_typer(callers, name="callers")
callers.command("add")(add)
callers.command("roll")(roll)
callers.command("revoke")(revoke)
callers.command("allow")(allow)
callers.command("deny")(deny)
callers.command("set")(change)
callers.command("purge")(purge)
callers.command("list")(show)
callers.command("explain")(explain)
app.command("sync")(sync)
app.command("audit")(audit)
app.command("break")(break_part)
app.command("mend")(mend_part)

if __name__ == "__main__":
    app(prog_name="./vend")
