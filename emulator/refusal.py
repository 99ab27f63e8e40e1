"""The one exception by which every service of the local cloud refuses a request."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType


@dataclass(eq=False)
class Refusal(Exception):
    """A refused request; each service renders it in its own wire format.

    Args:
        status: of the HTTP response.
        message: the sentence for the person who reads the response.
        code: the name or number of the error, where the format has one.
        detail: a narrower code or a second sentence, where the format has a place for it.
        headers: beyond those that the service sends with every response.
    """

    status: int
    message: str
    _: KW_ONLY
    code: str = ""
    detail: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
