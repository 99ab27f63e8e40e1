"""Situations that an operator can rehearse, each begun and ended as a whole, by the control API of the local cloud.

GET    /rehearsals          whether each one is under way
PUT    /rehearsals/{name}   {"lasts_seconds": 300} begins it; without a time it lasts until it is ended
DELETE /rehearsals/{name}   ends it

The faults of one part are in `emulator.network.faults`. These situations change the state of the cloud, or the files
of a site.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.routing import Route

from emulator.clock import Dates
from emulator.control_verb import answering, number
from emulator.directory.store import Directory
from emulator.entra.app import HONEST, Entra, Forgery
from emulator.graph.app import Graph
from emulator.vault.app import KeyVault
from emulator.vault.errors import Closure

LONGEST = 86_400.0
AHEAD_SECONDS = 180.0
FOREIGN_TENANT = "d1e0a5c7-3f42-4b96-8c1d-60f7b29e4a83"

type End = Callable[[], object]
type Begin = Callable[[], End]
"""Begins a situation, and returns what ends it."""


class Rehearsals:
    """Has the `routes` that begin and end situations; they are for the loop that serves the control API."""

    def __init__(self) -> None:
        self._known: dict[str, Begin] = {}
        self._ends: dict[str, End] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        one = "/rehearsals/{name}"
        self.routes = [
            Route("/rehearsals", answering(self._show), methods=["GET"]),
            Route(one, answering(self._put), methods=["PUT"]),
            Route(one, answering(self._delete), methods=["DELETE"]),
        ]

    @property
    def names(self) -> frozenset[str]:
        """The names of the situations."""
        return frozenset(self._known)

    def add(self, name: str, begin: Begin) -> None:
        """Offer a situation."""
        self._known[name] = begin

    def _show(self, _path: Mapping[str, str], _body: Mapping[str, object]) -> Mapping[str, object]:
        return {name: {"running": name in self._ends} for name in self._known}

    def _put(self, path: Mapping[str, str], body: Mapping[str, object]) -> Mapping[str, object]:
        name = path["name"]
        begin = self._find(name)
        lasts = number(body, "lasts_seconds") if "lasts_seconds" in body else None
        if lasts is not None and lasts > LONGEST:
            raise ValueError(f"lasts_seconds must be a number, 0 to {LONGEST:g}")
        self._stop_timer(name)
        if name not in self._ends:
            self._ends[name] = begin()
        if lasts is not None:
            self._timers[name] = asyncio.get_running_loop().call_later(lasts, self._end, name)
        return {"running": True}

    def _delete(self, path: Mapping[str, str], _body: Mapping[str, object]) -> Mapping[str, object]:
        self._find(path["name"])
        self._end(path["name"])
        return {"running": False}

    def _find(self, name: str) -> Begin:
        begin = self._known.get(name)
        if begin is None:
            raise ValueError(f"the rehearsals are {', '.join(sorted(self._known))}")
        return begin

    def _end(self, name: str) -> None:
        self._stop_timer(name)
        if end := self._ends.pop(name, None):
            end()

    def _stop_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()


def unregistered(directory: Directory, client_id: str) -> Begin:
    """Return the situation that an application has no certificate registered, as after somebody has cleaned up."""

    def begin() -> End:
        found = directory.application(client_id)
        held = dict(found.certificates) if found else {}
        for key_id in held:
            directory.remove_certificate(client_id, key_id)

        def end() -> None:
            now = directory.application(client_id)
            known = {each.certificate for each in now.certificates.values()} if now else set()
            for each in held.values():
                if each.certificate not in known:
                    der = each.certificate.certificate.public_bytes(Encoding.DER)
                    directory.register_certificate(client_id, der)

        return end

    return begin


def without_roles(directory: Directory, principal_id: str, *, resource: str, roles: frozenset[str]) -> Begin:
    """Return the situation that a service principal has no roles of an API: nobody has consented."""

    def begin() -> End:
        directory.grant(principal_id, resource=resource, roles=frozenset())
        return lambda: directory.grant(principal_id, resource=resource, roles=roles)

    return begin


def other_audience(directory: Directory, resource: str) -> Begin:
    """Return the situation that the owner of an API has changed the version of its tokens, and so their audience.

    https://learn.microsoft.com/entra/identity-platform/access-tokens#token-formats
    """

    def begin() -> End:
        api = directory.api(resource)
        assert api is not None
        directory.add_api(replace(api, token_version=1 if api.token_version == 2 else 2))
        return lambda: directory.add_api(api)

    return begin


def impostor(entra: Entra) -> Begin:
    """Return the situation that somebody answers in place of Entra, with tokens of another tenant."""

    def begin() -> End:
        entra.forgery = Forgery(claims={"tid": FOREIGN_TENANT})
        return lambda: setattr(entra, "forgery", HONEST)

    return begin


def other_dates(dates: Dates) -> Begin:
    """Return the situation that the clocks of the parts and of this machine differ, by what their answers say.

    By the clock itself a part goes on judging: a clock that has moved cannot move back.
    """

    def begin() -> End:
        dates.ahead = AHEAD_SECONDS
        return lambda: setattr(dates, "ahead", 0.0)

    return begin


def closed_vault(vault: KeyVault) -> Begin:
    """Return the situation that the firewall of a vault lets nobody in."""

    def begin() -> End:
        vault.app.closed = Closure.FIREWALL
        return lambda: setattr(vault.app, "closed", None)

    return begin


def withheld_members(graph: Graph) -> Begin:
    """Return the situation that Graph begins a new round without members: their permission was taken away."""

    def begin() -> End:
        before = graph.delta.withheld
        graph.delta.withheld = before | {"members"}
        graph.revoke_tokens()
        return lambda: setattr(graph.delta, "withheld", before)

    return begin
