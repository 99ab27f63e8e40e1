"""Route templates of HTTP triggers, matched as the Functions host matches them.

Source: https://learn.microsoft.com/aspnet/core/fundamentals/routing (templates, constraints, precedence) and
https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger (`route`, `routePrefix`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

PARAMETER = re.compile(r"\{(?P<all>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\??)\}", re.ASCII)
CONSTRAINTS = {
    "int": r"[+-]?[0-9]+",
    "alpha": r"[A-Za-z]+",
    "guid": r"\{?[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}\}?",
}


@dataclass(frozen=True)
class Route:
    """One compiled template, and the methods it takes (None: every token that is a method)."""

    function: str
    methods: frozenset[str] | None
    names: tuple[str, ...]
    pattern: re.Pattern[str]
    rank: tuple[int, ...]


def compile_route(function: str, template: str, methods: Iterable[str] | None = None) -> Route:
    """Read one template, prefix included.

    Raises:
        ValueError: the template has a part that is not imitated here.
    """
    names: list[str] = []
    rank: list[int] = []
    pattern = ""
    for segment in template.strip("/").split("/"):
        parameter = PARAMETER.fullmatch(segment)
        if parameter is None:
            if "{" in segment or "}" in segment:
                raise ValueError(f"route {template!r} of {function}: {segment!r} is not understood")
            pattern += f"/{re.escape(segment)}"
            rank.append(1)
            continue
        constraint = parameter["constraint"]
        if constraint and constraint not in CONSTRAINTS:
            raise ValueError(f"route {template!r} of {function}: constraint {constraint!r} is not understood")
        names.append(parameter["name"])
        accepted = CONSTRAINTS.get(constraint, ".*" if parameter["all"] else "[^/]+")
        piece = f"/({accepted})"
        pattern += f"(?:{piece})?" if parameter["optional"] or parameter["all"] else piece
        # The precedence that ASP.NET gives to literals, constrained parameters, parameters and catch-alls.
        rank.append((5 if parameter["all"] else 3) - bool(constraint))
    compiled = re.compile(f"{pattern}/?", re.IGNORECASE | re.ASCII | re.DOTALL)
    allowed = frozenset(method.upper() for method in methods) if methods else None
    return Route(function, allowed, tuple(names), compiled, tuple(rank))


class Router:
    """Finds the function of a request; the more specific template wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: route.rank)

    def match(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """Return the function's name and the route parameters that have a value.

        A method that no template takes finds nothing, as in the real host: that answers 404, not 405
        (https://github.com/Azure/azure-functions-host/issues/10098).
        """
        # A server removes dot segments before it routes; a client that sends them all the same gets nothing.
        if "/." in path and any(segment in {".", ".."} for segment in path.split("/")):
            return None
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found and (route.methods is None or method.upper() in route.methods):
                values = zip(route.names, found.groups(), strict=True)
                return route.function, {name: value for name, value in values if value}
        return None
