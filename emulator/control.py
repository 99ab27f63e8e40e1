"""Drives the local cloud from outside its process: faults on and off, and what the parts have seen.

Plain HTTP, open to everyone who reaches loopback on this machine: it guards nothing that is worth guarding.

    GET    /faults             every part: its fault, how many requests it holds, how often one happened
    PUT    /faults/{part}      one fault as JSON, see `emulator.faults`
    DELETE /faults/{part}
    GET    /requests/entra     token requests by tenant, client and scope
"""

from collections.abc import Mapping
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.entra.app import Entra
from emulator.network.faults import TAKES, Switch, parse


class Control:
    """Serves `app`."""

    def __init__(self, *, faults: Mapping[str, Switch], entra: Entra) -> None:
        self._faults = faults
        self._entra = entra
        self.app = Starlette(
            routes=[
                Route("/faults", self._list, methods=["GET"]),
                Route("/faults/{part}", self._put, methods=["PUT"]),
                Route("/faults/{part}", self._delete, methods=["DELETE"]),
                Route("/requests/entra", self._requests, methods=["GET"]),
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
