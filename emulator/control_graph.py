"""The switches of Graph's delta query, by the control API of the local cloud.

Its routes:

    GET    /graph/delta           every switch of `emulator.graph.switches`
    PUT    /graph/delta           {"page_size": 5}; a switch that the body does not name stays
    DELETE /graph/delta           the defaults
    POST   /graph/revoke_tokens   refuse every next link and delta link that was issued until now
"""

from collections.abc import Mapping

from starlette.routing import Route

from emulator.control_verb import answering
from emulator.graph.app import Graph

type Body = Mapping[str, object]
type Path = Mapping[str, str]


class GraphControl:
    """Has the `routes` that change how one Graph behaves."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.routes = [
            Route("/graph/delta", answering(self._show), methods=["GET"]),
            Route("/graph/delta", answering(self._set), methods=["PUT"]),
            Route("/graph/delta", answering(self._reset), methods=["DELETE"]),
            Route("/graph/revoke_tokens", answering(self._revoke), methods=["POST"]),
        ]

    def _show(self, _path: Path, _body: Body) -> Body:
        return self._graph.delta.written()

    def _set(self, _path: Path, body: Body) -> Body:
        self._graph.delta.read(body)
        return self._graph.delta.written()

    def _reset(self, _path: Path, _body: Body) -> None:
        self._graph.delta.reset()

    def _revoke(self, _path: Path, _body: Body) -> None:
        self._graph.revoke_tokens()
