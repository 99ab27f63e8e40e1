"""The OpenAPI document: what each route takes, and every answer that it can give.

The routes themselves are asked how they refuse, error by error, so that no answer here differs from the app's. What the
code cannot say stands here: which error cannot happen where; and in `openapi_parts.py`: how a request looks.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scripts import openapi_parts as parts
from shared.api import discovery, doctor, readiness, sync
from shared.api.answers import Answer, Vended
from shared.api.routes import ENTRA, FUNCTION_KEY, MANAGED_IDENTITY, OAUTH, ROUTES, Route
from shared.callers.health import DocumentFacts, DocumentHealth, check_document
from shared.core import errors
from shared.core.check import Check, State
from shared.core.directory.order import Order
from shared.core.directory.streams import USERS
from shared.core.errors import VendError
from shared.core.policy import Caller
from shared.core.request import BODY_LIMIT, Incoming
from shared.core.token import AccessToken, Moment, TokenSource
from shared.credentials.check import Serving
from shared.directory.report import Names, Outcome, Report
from shared.system import System
from shared.telemetry.events import Events

type Part = dict[str, Any]

NEVER: Mapping[Route, set[type[VendError]]] = {
    FUNCTION_KEY: {errors.RouteDisabled, errors.NotAdmin, errors.SyncUnderWay},
    OAUTH: {errors.NotAdmin, errors.SyncUnderWay},
    MANAGED_IDENTITY: {
        errors.NotAdmin,
        errors.SyncUnderWay,
        errors.UnsupportedMedia,
        errors.UnsupportedGrant,
    },
    ENTRA: {errors.NotAdmin, errors.SyncUnderWay},
}
WORDS_ALONE: Mapping[Route, set[type[VendError]]] = {MANAGED_IDENTITY: {errors.UnknownIdentity}}
"""What cannot happen either, and differs from what can in its words alone."""
BRANCHES = {errors.Refused, errors.UpstreamError}
"""Of the tree of errors: never raised themselves."""
_REQUESTS: Mapping[Route, Part] = {
    FUNCTION_KEY: parts.FUNCTION_KEY_REQUEST,
    OAUTH: parts.OAUTH_REQUEST,
    MANAGED_IDENTITY: parts.MANAGED_IDENTITY_REQUEST,
    ENTRA: parts.ENTRA_REQUEST,
}
_ID = "0b7c2f0e-5a1d-4c55-9d0e-3f8f6c1f2a77"
_WORKER = "5f0d9c21"
_FACTS = DocumentFacts(in_force="9c56cc51b374", newest="9c56cc51b374", refused=1, generation=3)
_NOW = Moment(wall=1_800_000_000, boot=0)
_CREDENTIALS = (
    Serving(
        profile="graph",
        credential="https://example.vault.azure.net/certificates/vend/2f3e7eac0cb043a2b3fd14c98a77dc11",
        is_accepted=True,
        ends=datetime(2027, 11, 27, 19, 4, 22, tzinfo=UTC),
        resting=(),
    ),
)
_VENDED = Vended(
    token=AccessToken("eyJ0eXAi...", _NOW, lifetime=3_599, refresh_after=1_440),
    source=TokenSource.CACHE,
    scope=parts.SCOPE,
    client_id="3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835",
    now=_NOW,
    margin=10,
    correlation_id=_ID,
)


def openapi() -> Part:
    """Make the document."""
    return {
        "openapi": "3.1.0",
        "info": parts.INFO,
        "servers": parts.SERVERS,
        "paths": {f"/api/{route.name}": {route.method.lower(): _operation(route)} for route in ROUTES}
        | {
            f"/api/{name}": {"get": operation, "head": parts.without_body(operation)}
            for name, operation in (
                (discovery.ROUTE, _discovery()),
                (readiness.ROUTE, _readiness()),
                (doctor.ROUTE, _doctor()),
            )
        }
        | {f"/api/{sync.ROUTE}": {"post": _sync()}},
        "components": {"securitySchemes": parts.SECURITY, "headers": parts.HEADERS, "schemas": parts.SCHEMAS},
    }


def refusals(route: Route) -> list[type[VendError]]:
    """List the errors that a route can answer, in the order of the tree."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VendError)]
    return [kind for kind in kinds if kind not in BRANCHES | NEVER[route] | WORDS_ALONE.get(route, set())]


def _operation(route: Route) -> Part:
    by_status: dict[int, list[tuple[type[VendError], Answer]]] = {}
    for kind in refusals(route):
        answer = route.refused(kind(), method=route.method, correlation_id=_ID)
        by_status.setdefault(answer.status, []).append((kind, answer))
    protocol = "ManagedIdentity" if route is MANAGED_IDENTITY else ""
    token = parts.as_json({"$ref": f"#/components/schemas/{protocol}Token"}, {"Vended": route.vended(_VENDED)})
    return {
        "operationId": "entra_token" if route is ENTRA else route.name.replace("/", "_"),
        **_REQUESTS[route],
        "responses": {
            "200": parts.answer("The token. Keep it in memory alone, and not past its end.", token),
            **{str(status): _refusal(told, f"{protocol}Error") for status, told in sorted(by_status.items())},
        },
    }


def _discovery() -> Part:
    """Describe the metadata of the authority by what it answers to each kind of request."""
    url = f"https://vend.test/api/{discovery.ROUTE}".replace("{tenant}", "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60")
    asked = Incoming("GET", url, {}, b"")
    told: dict[type[VendError], Answer] = {
        errors.InvalidRequest: _authority(replace(asked, url=url.replace("7f3e9c52", "common"))),
        errors.RouteDisabled: _authority(asked, errors.RouteDisabled),
        errors.MethodNotAllowed: _authority(replace(asked, method="POST")),
        errors.TooLarge: _authority(replace(asked, body=b"x" * (BODY_LIMIT + 1))),
        VendError: _authority(asked, VendError),
        errors.NotReady: _authority(asked, errors.NotReady),
    }
    metadata: Part = {"$ref": "#/components/schemas/Authority"}
    return {
        "operationId": "entra_discovery",
        **parts.DISCOVERY_REQUEST,
        "responses": {
            "200": parts.answer("Where to ask.", parts.as_json(metadata, {"Authority": _authority(asked)})),
            **{str(answer.status): _refusal([(kind, answer)], "Error") for kind, answer in told.items()},
        },
    }


def _authority(incoming: Incoming, refusal: type[VendError] | None = None) -> Answer:
    events = Events(lambda _line: None, wall=lambda: _NOW.wall, worker=_WORKER)
    system = System(clock=_Still(), new_id=lambda: _ID)
    return asyncio.run(discovery.Discovery(refusal=refusal, system=system, events=events).answer(incoming))


def _readiness() -> Part:
    """Describe the probe by what it answers to each kind of request."""
    url = f"https://vend.test/api/{readiness.ROUTE}"
    good, bad = Check("token", State.OK, "one was had"), Check("token", State.FAILED, "none can be had")
    told: dict[type[VendError], Answer] = {
        errors.InvalidRequest: _probed(Incoming("GET", f"{url}?code=x", {}, b""), good),
        errors.MethodNotAllowed: _probed(Incoming("POST", url, {}, b""), good),
        errors.TooLarge: _probed(Incoming("GET", url, {}, b"x" * (BODY_LIMIT + 1)), good),
        VendError: _probed(Incoming("GET", url, {}, b"")),
    }
    report: Part = {"$ref": "#/components/schemas/Readiness"}
    can, cannot = (_probed(Incoming("GET", url, {}, b""), check) for check in (good, bad))
    return {
        "operationId": "ready",
        **parts.READINESS_REQUEST,
        "responses": {
            "200": parts.answer("It can serve, if only just.", parts.as_json(report, {"Ready": can})),
            **{str(answer.status): _refusal([(kind, answer)], "Error") for kind, answer in told.items()},
            "503": parts.answer(
                "It cannot serve.", parts.as_json(report, {"NotReady": cannot}), {"Retry-After": parts.RETRY_AFTER}
            ),
        },
    }


def _doctor() -> Part:
    """Describe the doctor by what it answers to each kind of request."""
    url = f"https://vend.test/api/{doctor.ROUTE}"
    admin, other = (_Callers(Caller(name="billing", admin=admin)) for admin in (True, False))
    asked = Incoming("GET", url, {"x-functions-key": "a-key-of-at-least-16-characters"}, b"")
    told: dict[type[VendError], Answer] = {
        errors.InvalidRequest: _diagnosed(Incoming("GET", f"{url}?code=x", {}, b""), admin),
        errors.UnknownCaller: _diagnosed(Incoming("GET", url, {}, b""), admin),
        errors.NotAdmin: _diagnosed(asked, other),
        errors.MethodNotAllowed: _diagnosed(Incoming("POST", url, {}, b""), admin),
        errors.TooLarge: _diagnosed(Incoming("GET", url, {}, b"x" * (BODY_LIMIT + 1)), admin),
        VendError: _diagnosed(asked, _Callers(None)),
        errors.NotReady: _diagnosed(asked, None),
    }
    report: Part = {"$ref": "#/components/schemas/Diagnosis"}
    return {
        "operationId": "doctor",
        **parts.DOCTOR_REQUEST,
        "responses": {
            "200": parts.answer("What is wrong.", parts.as_json(report, {"Diagnosed": _diagnosed(asked, admin)})),
            **{str(answer.status): _refusal([(kind, answer)], "Error") for kind, answer in told.items()},
        },
    }


def _sync() -> Part:
    """Describe the run of the sync by what it answers to each kind of request."""
    url = f"https://vend.test/api/{sync.ROUTE}"
    admin, other = (_Callers(Caller(name="billing", admin=admin)) for admin in (True, False))
    asked = Incoming("POST", f"{url}?seconds=60", {"x-functions-key": "a-key-of-at-least-16-characters"}, b"")
    told: dict[type[VendError], Answer] = {
        errors.InvalidRequest: _run(replace(asked, url=f"{url}?seconds=0"), admin),
        errors.UnknownCaller: _run(Incoming("POST", url, {}, b""), admin),
        errors.NotAdmin: _run(asked, other),
        errors.MethodNotAllowed: _run(replace(asked, method="GET"), admin),
        errors.SyncUnderWay: _run(asked, admin, outcome="busy"),
        errors.TooLarge: _run(replace(asked, body=b"x" * (BODY_LIMIT + 1)), admin),
        VendError: _run(asked, _Callers(None)),
        errors.NotReady: _run(asked, None),
    }
    ran: Part = {"$ref": "#/components/schemas/Synced"}
    return {
        "operationId": "sync",
        **parts.SYNC_REQUEST,
        "responses": {
            "200": parts.answer("What the run did.", parts.as_json(ran, {"Ran": _run(asked, admin)})),
            **{str(answer.status): _refusal([(kind, answer)], "Error") for kind, answer in told.items()},
        },
    }


def _run(incoming: Incoming, callers: doctor.Callers | None, *, outcome: Outcome = "complete") -> Answer:
    """Ask a worker whose runs end in one way."""
    names = Names(stream=USERS.name, tenant_id="3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835")

    async def run(_: Order) -> Sequence[Report]:
        return [Report(names, USERS.permission, phase="delta", outcome=outcome, pages=1, rows=3)]

    events = Events(lambda _line: None, wall=lambda: _NOW.wall, worker=_WORKER)
    asked = sync.SyncRuns(
        callers, run=run, streams=("users",), system=System(clock=_Still(), new_id=lambda: _ID), events=events
    )
    return asyncio.run(asked.answer(incoming))


class _Callers:
    """One caller with any key, and a document with a mistake; without a caller, a defect."""

    mistakes = ("callers.reports.allow[0].scopes[0]: the profile does not have this scope",)
    facts = _FACTS

    def __init__(self, caller: Caller | None) -> None:
        self._caller = caller

    def revalidate(self, now: float) -> None: ...

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        if self._caller is None:
            raise KeyError(key, host_checked)
        return self._caller

    async def check(self) -> Check:
        return check_document(DocumentHealth(3.0, is_failing=False, refused=1))


def _diagnosed(incoming: Incoming, callers: doctor.Callers | None) -> Answer:
    events = Events(lambda _line: None, wall=lambda: _NOW.wall, worker=_WORKER)
    asked = doctor.Doctor(
        callers, credentials=lambda: _CREDENTIALS, system=System(clock=_Still(), new_id=lambda: _ID), events=events
    )
    return asyncio.run(asked.answer(incoming))


class _Still:
    """Clocks that show one moment."""

    def __call__(self) -> Moment:
        return _NOW

    def wall(self) -> float:
        return _NOW.wall

    def boot(self) -> float:
        return _NOW.boot


def _probed(incoming: Incoming, *found: Check) -> Answer:
    """Probe a worker that finds this when it looks at itself; nothing, and the look is a defect."""

    async def look() -> Sequence[Check]:
        return found

    events = Events(lambda _line: None, wall=lambda: _NOW.wall, worker=_WORKER)
    probe = readiness.Readiness(
        look, facts=lambda: _FACTS, system=System(clock=_Still(), new_id=lambda: _ID), events=events
    )
    return asyncio.run(probe.answer(incoming))


def _refusal(told: list[tuple[type[VendError], Answer]], schema: str) -> Part:
    """Describe one status: what may have happened, and what all that is answered then has in common."""
    bodies = [json.loads(answer.body) for _, answer in told]
    fixed = {
        name: {"enum": _distinct(body[name] for body in bodies)}
        for name in ("error", "retryable")
        if all(name in body for body in bodies)
    }
    content = parts.as_json(
        {"allOf": [{"$ref": f"#/components/schemas/{schema}"}, {"properties": fixed}]},
        {kind.__name__: answer for kind, answer in told},
    )
    common = set.intersection(*(set(answer.headers) for _, answer in told))
    own = {
        name: {"required": True, "schema": {"enum": _distinct(answer.headers[name] for _, answer in told)}}
        for name in sorted(common & {"Allow", "WWW-Authenticate"})
    }
    if "Retry-After" in common:
        own["Retry-After"] = parts.RETRY_AFTER
    return parts.answer(" ".join(_about(kind) for kind, _ in told), content, own)


def _about(kind: type[VendError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _distinct[T](values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
