"""The control API of the local cloud, for other processes: faults, clock, requests that Entra received, credentials.

Plain HTTP, open to every process that reaches loopback on this machine: it protects nothing that matters elsewhere.

    GET    /faults             of every part: its fault, how many requests it holds, how often a fault happened
    PUT    /faults/{part}      one fault as JSON, see `emulator.network.faults`
    DELETE /faults/{part}
    POST   /clock              {"advance_seconds": 3600} moves the clock forward; the answer has its time
    GET    /requests/entra     token requests by tenant, client and scope

Credentials of applications are in `emulator.control_directory`, the objects of the tenant in
`emulator.control_objects`, the switches of Graph in `emulator.control_graph`. The tokens and keys of the issuer that is
not Entra are in `emulator.control_issuer`, the situations to rehearse in `emulator.rehearsals`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.clock import FARTHEST, Clock
from emulator.entra.app import Entra
from emulator.network.faults import TAKES, Switch, parse


class Control:
    """Serves `app`, which has the routes of `others` too."""

    def __init__(
        self, *, faults: Mapping[str, Switch], entra: Entra, clock: Clock, others: Iterable[Route] = ()
    ) -> None:
        self._faults = faults
        self._entra = entra
        self._clock = clock
        self.app = Starlette(
            routes=[
                Route("/faults", self._list, methods=["GET"]),
                Route("/faults/{part}", self._put, methods=["PUT"]),
                Route("/faults/{part}", self._delete, methods=["DELETE"]),
                Route("/clock", self._advance, methods=["POST"]),
                Route("/requests/entra", self._requests, methods=["GET"]),
                *others,
            ]
        )

    async def _list(self, _request: Request) -> Response:
        return JSONResponse({part: _state(switch) for part, switch in self._faults.items()})

    async def _put(self, request: Request) -> Response:
        switch = self._faults.get(request.path_params["part"])
        if switch is None:
            return self._unknown_part()
        try:
            fault = parse(await request.body())
        except ValueError as mistake:
            return JSONResponse({"error": str(mistake)}, status_code=400)
        await switch.turn(fault)
        return JSONResponse(_state(switch))

    async def _delete(self, request: Request) -> Response:
        switch = self._faults.get(request.path_params["part"])
        if switch is None:
            return self._unknown_part()
        await switch.turn(None)
        return JSONResponse(_state(switch))

    async def _advance(self, request: Request) -> Response:
        try:
            self._clock.advance(json.loads(await request.body())["advance_seconds"])
        except (ValueError, TypeError, LookupError):
            message = f"advance_seconds must be a number, 0 to {FARTHEST:.0f}"
            return JSONResponse({"error": message}, status_code=400)
        return JSONResponse({"now": self._clock()})

    async def _requests(self, _request: Request) -> Response:
        counts = self._entra.counts()
        rows = [
            {"tenant": tenant, "client_id": client_id, "scope": scope, "count": count}
            for (tenant, client_id, scope), count in sorted(counts.items())
        ]
        return JSONResponse({"total": counts.total(), "requests": rows})

    def _unknown_part(self) -> Response:
        return JSONResponse({"error": f"the parts are {', '.join(sorted(self._faults))}"}, status_code=404)


def _state(switch: Switch) -> dict[str, object]:
    fault = switch.current
    shown = {"kind": fault.kind} | {k: v for k, v in asdict(fault).items() if k in TAKES[fault.kind]} if fault else None
    return {"fault": shown, "waiting": switch.waiting, "taken": switch.taken}
