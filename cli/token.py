"""`./vend token`: one request to the running app, and what came of it; the token itself only if asked for."""

import base64
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import typer

from cli.explain import Tenant
from cli.http import ask, check_address, function_key, json_object
from cli.keys import LOCAL_APP, App, key_of
from cli.names import SCOPE, good_names, good_scopes
from cli.own_scopes import only_scope
from cli.screen import BAD, GOOD, AsJson, misuse, say, say_json, say_table, stop
from shared.core.errors import NotReady
from shared.core.names import is_guid

LAST_SECOND = 2**32
SHOWN = ("aud", "appid", "azp", "roles", "tid", "uti", "exp")
NOBODY = "`make run` starts one on this machine; for another: --app URL, or VEND_URL."


@dataclass(frozen=True, slots=True)
class Vended:
    """An answer with a token."""

    token: str = field(repr=False)
    source: str
    seconds_left: int

    @property
    def sha256(self) -> str:
        """The name of the token, where the token itself must not be shown."""
        return hashlib.sha256(self.token.encode()).hexdigest()


def token(
    caller: Annotated[
        str, typer.Argument(metavar="CALLER", callback=good_names, help="Who asks: its function key is sent.")
    ],
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope", metavar=SCOPE, callback=good_scopes, help="What CALLER asks for. Without it: its only scope."
        ),
    ] = None,
    tenant: Tenant = None,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Then have that token replaced, as after granting a permission.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the token and nothing else.")] = False,
    as_json: AsJson = False,
    app: App = LOCAL_APP,
) -> None:
    """Ask the running app for a token, and show what is in it.

    The key of CALLER is read from .run/CALLER.key (the app of `make run` alone), from the file that VEND_KEY_FILE
    names, or from VEND_KEY; else you are asked for it.

    Without --scope it reads the two documents, a callers document in a blob by your own login. If CALLER may have
    several scopes, it lists them.

    Exit code 0: a token came. 1: none did, and what to do next is printed.
    """
    if raw and as_json:
        raise misuse("--json", "never has the token, so --raw cannot stand beside it")
    address = check_address(app, at="--app")
    scope = scope or only_scope(caller)
    key = key_of(caller, app=address)
    again = f"--scope {shlex.quote(scope)}" + (f" --tenant {shlex.quote(tenant)}" if tenant else "")
    why = f"./vend callers explain {shlex.quote(caller)} {again}"

    def request(rejected: str = "") -> Vended:
        form = {"grant_type": "client_credentials", "scope": scope, "tenant": tenant or ""}
        if rejected:
            form["token_sha256_to_refresh"] = rejected
        answer = ask(
            httpx.Request("POST", f"{address}/api/token", data=form),
            hint=NOBODY,
            secret=function_key(key, app=address),
        )
        vended = _read(answer, why=why, address=address)
        if not raw and not as_json:
            _show(answer, vended)
        return vended

    vended = request()
    if refresh:
        before, vended = vended, request(vended.sha256)
        if vended.token == before.token and not raw and not as_json:
            say("The same token: it was replaced within the last 30 s, or no newer one came. Ask again after that.")
    if raw:
        typer.echo(vended.token)
        return
    if as_json:
        facts = {"source": vended.source, "seconds_left": vended.seconds_left, "sha256": vended.sha256}
        say_json({**facts, "claims": claims_of(vended.token)})
        return
    _show_claims(vended.token)


def _read(answer: httpx.Response, *, why: str, address: str) -> Vended:
    """Take the token out of an answer, or say why there is none and end with exit code 1."""
    body = json_object(answer.content)
    if answer.status_code != HTTPStatus.OK:
        raise _refused(answer, body, why=why, address=address)
    match body:
        case {"access_token": str(secret), "token_source": str(source), "expires_in": int(seconds)}:
            return Vended(secret, source, seconds)
        case _:
            raise stop(f"{address} answers 200, but the answer is not one of vend.", "Is it the address of vend?")


def _show(answer: httpx.Response, vended: Vended) -> None:
    took = f"{answer.elapsed.total_seconds() * 1000:.0f} ms"
    say(
        f"{answer.status_code}  {took}  {vended.source}  {vended.seconds_left} s left  {vended.sha256[:12]}", style=GOOD
    )


def _show_claims(secret: str) -> None:
    claims = claims_of(secret)
    if not claims:
        say("The token is opaque: only its API can read it.")
        return
    rows = [(name, _shown(name, claims[name])) for name in SHOWN if claims.get(name)]
    if not claims.get("roles"):
        rows.append(("roles", "none: the app registration has no permission on this API, or nobody consented to it"))
    say_table(rows)


def _shown(name: str, value: object) -> str:
    if name == "exp" and isinstance(value, int) and 0 < value < LAST_SECOND:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _refused(answer: httpx.Response, body: Mapping[str, Any], *, why: str, address: str) -> typer.Exit:
    error, description = str(body.get("error", "")), str(body.get("error_description", ""))
    say(f"{answer.status_code} {error or answer.reason_phrase}", style=BAD, error=True)
    say_table(
        [
            ("what", description or f"not an answer of vend: a proxy or gateway answers at {address}"),
            ("hint", str(body.get("hint", ""))),
            ("correlation_id", str(body.get("correlation_id", ""))),
            ("retry", when_to_repeat(answer, body)),
            ("next", _next(answer.status_code, body, why=why, past=_past(body))),
        ],
        error=True,
    )
    return typer.Exit(1)


def when_to_repeat(answer: httpx.Response, body: Mapping[str, Any]) -> str:
    """Return when a repeat of the request can help; "" where an answer that is none of vend's does not say.

    In an answer that only the operator can change, the wait is how long vend gives it again without asking upstream.
    """
    wait = answer.headers.get("retry-after")
    if not body or body.get("retryable"):
        return f"after {wait} s" if wait else ""
    return f"once the cause is corrected; the answer stays the same for up to {wait} s" if wait else "changes nothing"


def _past(body: Mapping[str, Any]) -> str:
    """Name the command that finds the reason in the log; an id that is none of vend's leads nowhere."""
    correlation_id = str(body.get("correlation_id", ""))
    return f"./vend callers explain --correlation-id {correlation_id}" if is_guid(correlation_id) else ""


def _next(status: int, body: Mapping[str, Any], *, why: str, past: str) -> str:
    """Return the next step after this error."""
    match status, body:
        case 401, {"error": _}:
            return "see in callers.toml whether it has the SHA-256 of this key, and whether not_after is over"
        case 401, _:
            return "the host knows no such key: is it that of another app? a new one can take 60 s"
        case 400, {"error": "invalid_scope"} if "hint" not in body:
            return why
        case 503, {"error_description": NotReady.default}:
            return "./vend check names every mistake in the two documents"
        case _, {"retryable": True}:
            return f"wait, and ask again; if it stays: {past}"
        case _, {"hint": _}:
            return "do what the hint says"
        case _, {"error": _}:
            return past
    return "is this the address of vend, and is it up?"


def claims_of(secret: str) -> Mapping[str, Any]:
    """Decode what a JWT says, without believing it; nothing where it is none."""
    parts = secret.split(".")
    if len(parts) != 3:
        return {}
    try:
        return json_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
