"""`./vend callers explain`: what the app decides and tells nobody, from the same two documents by the same rules."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.documents import Config, read_documents
from cli.event_log import Log
from cli.names import SCOPE, good_names, good_scopes, good_tenants, listed
from cli.past_answer import explain_past, good_id
from cli.screen import BAD, GOOD, AsJson, say, say_json, say_table, stop
from shared.core.errors import PolicyDenied
from shared.core.policy import EVERYBODY, Allow, Caller, Grant, Offer, decide
from shared.core.request import TokenRequest

IF_RIGHT = "If the scope is right: add it to one, then to the caller"
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="GUID", callback=good_tenants, help="Which tenant, where there are several."),
]


def explain(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", callback=good_names, help="A caller in callers.toml.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", metavar=SCOPE, callback=good_scopes, help="What NAME would ask for.")
    ] = None,
    tenant: Tenant = None,
    correlation_id: Annotated[
        str | None,
        typer.Option(
            "--correlation-id", metavar="ID", callback=good_id, help="Of an answer of the app, in place of NAME."
        ),
    ] = None,
    log: Log = None,
    config: Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain which rule decides about a request of a caller, or why an answer was as it was.

    With --scope it reads the two documents and does not ask the app, so it says what the app will decide once it has
    read them too. A callers document in a blob is read by your own login. With --correlation-id it reads the log, or
    prints the query that finds the event in Azure.

    Exit code 0: the caller is given a token; or there is no log, and the query was printed. 1: it is given none, or the
    log has no such event; then the query is printed too.
    """
    if (scope is None) is (correlation_id is None):
        raise typer.BadParameter("exactly one of them is needed", param_hint="--scope, --correlation-id")
    if correlation_id is not None:
        explain_past(correlation_id, log, as_json=as_json)
        return
    if name is None or scope is None:
        raise typer.BadParameter("is needed with --scope", param_hint="NAME")
    _explain(name, scope, tenant, config, as_json=as_json)


def _explain(name: str, scope: str, tenant: str | None, config: Path | None, *, as_json: bool) -> None:
    documents = read_documents(config)
    caller = documents.callers.callers.get(name)
    if caller is None:
        known = ", ".join(documents.callers.callers) or "nobody"
        everybody = EVERYBODY in documents.callers.callers
        hint = 'Any other key that the host accepts falls under "*": explain that one.' if everybody else ""
        raise stop(f"{documents.callers_file} has no caller {name}. It has: {known}", hint)
    if caller.is_expired(datetime.now(UTC)):
        remedy = f"move callers.{name}.not_after, or remove it"
        raise _refused(caller, "its time is over", "401 invalid_client", remedy, as_json=as_json)
    request, offers = TokenRequest((scope,), tenant.lower() if tenant else None), documents.settings.offers
    try:
        grant = decide(caller, request, offers)
    except PolicyDenied as denied:
        answer, remedy = "400 invalid_scope, without the reason", _remedy(caller, request, offers)
        raise _refused(caller, denied.cause, answer, remedy, as_json=as_json) from None
    _given(caller, request, grant, as_json=as_json)


def _given(caller: Caller, request: TokenRequest, grant: Grant, *, as_json: bool) -> None:
    key = grant.key
    if grant.would_deny:
        rule = f'mode = "audit" serves what is not listed, and logs: {grant.would_deny}'
        tenant = "as asked" if request.tenant_id else "the first of the profile, as none was asked for"
    else:
        index, allow = next(
            (index, allow)
            for index, allow in enumerate(caller.allow)
            if allow.profile == key.profile and key.scope in allow.scopes and _covers(allow, key.tenant_id)
        )
        rule = f"callers.{caller.name}.allow[{index}] lists this scope"
        whose = "that it lists" if allow.tenants else "of the profile"
        tenant = "as asked" if request.tenant_id else f"the first {whose}, as none was asked for"
    if as_json:
        say_json({"given": True, "rule": rule, "profile": key.profile, "tenant_id": key.tenant_id})
        return
    say("given", style=GOOD)
    say_table([("rule", rule), ("profile", key.profile), ("tenant", f"{key.tenant_id}, {tenant}")])


def _refused(caller: Caller, reason: str, answer: str, remedy: str, *, as_json: bool) -> typer.Exit:
    if as_json:
        say_json({"given": False, "reason": reason, "answer": answer, "remedy": remedy})
        return typer.Exit(1)
    say("refused", style=BAD)
    say_table([("reason", reason), ("answer", answer), ("remedy", remedy)])
    for index, allow in enumerate(caller.allow):
        tenants = f"tenants {', '.join(allow.tenants)}" if allow.tenants else "all its tenants"
        say(f"callers.{caller.name}.allow[{index}]  profile {allow.profile}, {tenants}: {', '.join(allow.scopes)}")
    return typer.Exit(1)


def _remedy(caller: Caller, request: TokenRequest, offers: Mapping[str, Offer]) -> str:
    having = {name: offer for name, offer in offers.items() if request.scopes[0] in offer.scopes}
    if not having:
        known = dict.fromkeys(scope for offer in offers.values() if offer.vendable for scope in offer.scopes)
        return f"no profile in vend.toml has this scope; they have {listed([*known])}. {IF_RIGHT}"
    vendable = {name: offer for name, offer in having.items() if offer.vendable}
    if not vendable:
        return f"profile {', '.join(having)} has this scope, but vendable = false: no caller can have it"
    fitting = [name for name, offer in vendable.items() if request.tenant_id in {None, *offer.tenants}]
    if not fitting:
        return f"profile {', '.join(vendable)} has this scope, but not this tenant"
    tenants = f", tenants = [{json.dumps(request.tenant_id)}]" if request.tenant_id else ""
    entry = f'{{ profile = "{fitting[0]}", scopes = [{json.dumps(request.scopes[0])}]{tenants} }}'
    return f"if it may have this, add to allow of callers.{caller.name}: {entry}"


def _covers(allow: Allow, tenant_id: str) -> bool:
    return not allow.tenants or tenant_id in {tenant.lower() for tenant in allow.tenants}
