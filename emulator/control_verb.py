"""The shared part of the verbs of the control API: a JSON object in, a JSON object out, and their mistakes."""

import json
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

type Verb = Callable[[Mapping[str, str], Mapping[str, object]], Mapping[str, object] | None]
"""From the parameters of the path and the body to the answer."""


def answering(verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint: 200 or 204, 404 for what is not there, 400 with the mistake of the body."""

    async def serve(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004, TRY301 - a mistake in a document
            answer = verb(request.path_params, body)
        except KeyError:
            return _json({"error": "there is no such object, or it is not in the state that this needs"}, 404)
        except ValueError as mistake:
            return _json({"error": str(mistake)}, 400)
        return Response(status_code=204) if answer is None else _json(answer, 200)

    return serve


def text(body: Mapping[str, object], name: str) -> str:
    """Return a string of a body.

    Raises:
        ValueError: there is none.
    """
    value = body.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")  # noqa: TRY004 - a mistake in a document
    return value


def number(body: Mapping[str, object], name: str) -> float:
    """Return a number of a body that is not negative.

    Raises:
        ValueError: there is none.
    """
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name} must be a number, 0 or more")
    return value


def _json(shown: object, status: int) -> Response:
    # In ASCII: the properties of objects may have lone surrogates, which UTF-8 cannot encode.
    return Response(json.dumps(shown), status, media_type="application/json")
