"""The meaning of Graph's answer to a link, if it is no page: https://learn.microsoft.com/graph/errors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared.core.names import is_guid
from shared.core.reply import Reply, json_object

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
# https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset; the third is of next links.
_FORGOTTEN = {"syncstatenotfound", "resyncrequired", "directory_expiredpagetoken"}
_NOT_ABOUT_THE_LINK = {401, 403, 408, 429}


class LinkState(Enum):
    """The verdict of a refusal about the link."""

    FORGOTTEN = "Graph no longer accepts the link"
    DOUBTED = "Graph refuses it, and other links have been refused so for ever"
    UNKNOWN = "nothing"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal of Graph's.

    Args:
        code: a name from Graph's vocabulary; "" if there is none.
        request_id: the id by which Microsoft's support finds the request; None if there is none.
        link: what the refusal says about the link.
    """

    code: str
    request_id: str | None
    link: LinkState


def read_refusal(reply: Reply) -> Refusal:
    """Return the facts of a refusal; no text of the answer is in them.

    A proxy's answer, which has not Graph's form, says nothing about a link.
    """
    errors = list(_errors(reply))
    codes = [code for error in errors if isinstance(code := error.get("code"), str) and _CODE.fullmatch(code)]
    ids = [error.get("request-id") for error in errors]
    request_id = next((each for each in ids if isinstance(each, str) and is_guid(each)), None)
    is_refusal = 400 <= reply.status < 500
    if reply.status == 410 or (is_refusal and _FORGOTTEN & {code.lower() for code in codes}):
        link = LinkState.FORGOTTEN
    elif is_refusal and errors and reply.status not in _NOT_ABOUT_THE_LINK:
        link = LinkState.DOUBTED
    else:
        link = LinkState.UNKNOWN
    return Refusal(codes[0] if codes else "", request_id, link)


def _errors(reply: Reply) -> Iterator[dict[str, Any]]:
    """Yield the error of an answer and those inside it, the outer first. Both spellings of the inner one occur."""
    error = (json_object(reply.body) or {}).get("error")
    while isinstance(error, dict):
        yield error
        error = error.get("innerError") or error.get("innererror")
