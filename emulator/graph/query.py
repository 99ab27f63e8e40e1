"""The OData query options: names in any case, each at most once.

Source: https://learn.microsoft.com/graph/query-parameters
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from emulator.directory.kinds import GROUPS, MEMBERS, Kind
from emulator.graph.errors import bad_request, not_implemented, unsupported_query

MOST_ON_A_LIST_PAGE = 999
USUAL_LIST_PAGE = 100
MOST_IDS = 15
ID_FILTER = re.compile(r"id\s+in\s*\((?P<ids>\s*'[^']*'(?:\s*,\s*'[^']*')*\s*)\)", re.IGNORECASE)

type Query = Mapping[str, str]


@dataclass(frozen=True)
class Selection:
    """The properties and relationships of `$select` without the id, which every row has.

    Args:
        is_explicit: whether the request had the option.
    """

    names: frozenset[str]
    is_explicit: bool


def read_query(request: Request) -> Query:
    """Return the query options by their names in lower case.

    Raises:
        Refusal: an option is repeated.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.lower() in found:
            raise bad_request(f"Query option '{name}' was specified more than once.")
        found[name.lower()] = value
    return found


def refuse_others(query: Query, known: frozenset[str]) -> None:
    """Refuse the options that are not imitated here, rather than return a result that Graph would not.

    Raises:
        Refusal: there is such an option.
    """
    if foreign := {name for name in query if name.startswith("$")} - known:
        raise bad_request(f"The local Graph does not know {', '.join(sorted(foreign))}.")


def token_of(query: Query, name: str) -> str:
    """Return a token, which carries every other option in itself; an empty delta token counts as absent.

    Raises:
        Refusal: the request has other options beside it, or the skip token is empty.
    """
    token = query.get(name, "")
    if name == "$skiptoken" and name in query and not token:
        raise bad_request("The skip token is empty.")
    if token and (beside := {option for option in query if option.startswith("$")} - {name}):
        raise bad_request(f"{', '.join(sorted(beside))} must not be repeated: the token carries it.")
    return token


def selected(query: Query, kind: Kind, *, tracked: bool) -> Selection:
    """Return what a request selects.

    Args:
        query: of the request.
        kind: of the objects.
        tracked: whether it is a delta query, which takes relationships, and has the members of groups by itself.

    Raises:
        Refusal: the kind has no such property, or 501: another service has it.
    """
    if "$select" not in query:
        return Selection(kind.usual | ({MEMBERS} if tracked and kind is GROUPS else frozenset()), is_explicit=False)
    names = frozenset(name.strip() for name in query["$select"].split(","))
    if names & kind.elsewhere:
        raise not_implemented()
    if unknown := sorted(names - kind.properties - kind.relations - {"id"}):
        raise bad_request(
            "Parsing OData Select and Expand failed: Could not find a property named "
            f"'{unknown[0]}' on type 'microsoft.graph.{kind.type}'."
        )
    return Selection(names - {"id"}, is_explicit=True)


def list_page_size(query: Query) -> int:
    """Return the `$top` of a plain list.

    Raises:
        Refusal: Graph has no pages of that size.
    """
    text = query.get("$top", str(USUAL_LIST_PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_ON_A_LIST_PAGE):
        raise bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {MOST_ON_A_LIST_PAGE}.")
    return int(text)


def filtered_ids(query: Query) -> tuple[str, ...] | None:
    """Return the ids of `$filter=id in ('...', ...)`; None without a filter.

    Raises:
        Refusal: it is another filter, or has more ids than Graph takes.
    """
    if "$filter" not in query:
        return None
    match = ID_FILTER.fullmatch(query["$filter"].strip())
    if match is None:
        raise bad_request("The local Graph knows the filter id in ('...', ...) alone.")
    ids = tuple(each.strip().strip("'").lower() for each in match["ids"].split(","))
    if len(ids) > MOST_IDS:
        raise unsupported_query(
            f"Too many child clauses specified in search filter expression containing 'OR' operators: {len(ids)}. "
            f"Max allowed: {MOST_IDS}."
        )
    return tuple(dict.fromkeys(ids))
