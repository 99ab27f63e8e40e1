"""Lists in pages: at most 25 entries and the address of the next page, as all of Key Vault's lists are."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from emulator.vault.errors import bad_parameter

MOST = 25


def page(items: Sequence[dict[str, object]], *, address: str, query: Mapping[str, str]) -> dict[str, object]:
    """Cut the page that the query asks for out of items that are sorted by their `id`.

    Raises:
        Refusal: 400, the query asks for a page of another size or one that the vault did not name.
    """
    size = _size(query.get("maxresults", str(MOST)))
    after = _last_id(query.get("$skiptoken", ""))
    rest = [item for item in items if str(item["id"]) > after]
    if len(rest) <= size:
        return {"value": rest, "nextLink": None}
    token = base64.urlsafe_b64encode(str(rest[size - 1]["id"]).encode()).decode()
    next_query = urlencode({"api-version": query["api-version"], "$skiptoken": token, "maxresults": size}, safe="$")
    return {"value": rest[:size], "nextLink": f"{address}?{next_query}"}


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise bad_parameter(f"Invalid value for maxresults: it must be between 1 and {MOST}")
    return int(text)


def _last_id(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise bad_parameter("Invalid value for $skiptoken") from error
