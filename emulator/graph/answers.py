"""The answers of Microsoft Graph in its wire format: JSON in chunks, and the headers that every answer has.

Source: recorded answers, and https://learn.microsoft.com/graph/throttling-limits
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from emulator.graph.query import Query
from emulator.refusal import Refusal

CONTENT_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
PIECE = 65_536
DIAGNOSTIC = {
    "ServerInfo": {
        "DataCenter": "West Europe",
        "Slice": "E",
        "Ring": "5",
        "ScaleUnit": "000",
        "RoleInstance": "AM0000000000000",
    }
}
COSTS = {"/v1.0/users": 2, "/v1.0/applications": 2}  # in resource units; every other address costs one
SMALL_PAGE = 20
LEAST_PERCENTAGE = 0.8

type Ids = Mapping[str, str]


def document(shown: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    """Return a document. Lone surrogates, which UTF-8 cannot encode, are escaped as every other non-ASCII character."""
    return _answer(shown, 200, {**headers, "Content-Type": CONTENT_TYPE, "OData-Version": "4.0"})


def refused(refusal: Refusal, headers: Mapping[str, str], *, ids: Ids, now: float) -> Response:
    """Return an error."""
    inner = {"date": f"{dt.datetime.fromtimestamp(now, dt.UTC):%Y-%m-%dT%H:%M:%S}", **ids}
    body = {"error": {"code": refusal.code, "message": refusal.message, "innerError": inner}}
    return _answer(body, refusal.status, {**headers, "Content-Type": "application/json", **refusal.headers})


def usual_headers(ids: Ids, *, units: int, throttle_percentage: float) -> Mapping[str, str]:
    """Return the headers of every answer."""
    headers = {
        **ids,
        "Cache-Control": "no-cache",
        "Strict-Transport-Security": "max-age=31536000",
        "Vary": "Accept-Encoding",
        "x-ms-ags-diagnostic": json.dumps(DIAGNOSTIC, separators=(",", ":")),
        "x-ms-resource-unit": str(units),
    }
    if throttle_percentage >= LEAST_PERCENTAGE:
        headers["x-ms-throttle-limit-percentage"] = str(throttle_percentage)
    return headers


def units(path: str, query: Query) -> int:
    """Return what a request costs in resource units."""
    top = query.get("$top", "")
    is_small = top.isascii() and top.isdigit() and int(top) < SMALL_PAGE
    return max(1, COSTS.get(path, 1) - ("$select" in query) + ("$expand" in query) - is_small)


def preference(request: Request) -> Mapping[str, str]:
    """Return the header for the preference of RFC 7240 that the response follows."""
    wishes = {wish.strip().lower() for wish in request.headers.get("prefer", "").split(",")}
    return {"Preference-Applied": "return=minimal"} if "return=minimal" in wishes else {}


def _answer(body: object, status: int, headers: Mapping[str, str]) -> Response:
    return StreamingResponse(_pieces(json.dumps(body).encode()), status_code=status, headers=headers)


def _pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
