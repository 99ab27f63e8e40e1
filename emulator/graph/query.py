"""The OData query options of the users: names in any case, each at most once.

Source: https://learn.microsoft.com/graph/query-parameters
"""

from collections.abc import Mapping

from starlette.requests import Request

from emulator.directory.people import MANAGER, PROPERTIES
from emulator.graph.errors import bad_request

# The properties that Graph returns of a user without $select.
DEFAULT_SELECT = frozenset(
    {
        "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
        "preferredLanguage", "surname", "userPrincipalName",
    }
)  # fmt: skip
SELECTABLE = PROPERTIES | {MANAGER, "id"}
MOST_ON_A_LIST_PAGE = 999
USUAL_LIST_PAGE = 100

type Query = Mapping[str, str]


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


def selected(query: Query) -> frozenset[str]:
    """Return the properties of `$select` without the id, which every row has.

    Raises:
        Refusal: a user has no such property.
    """
    if "$select" not in query:
        return DEFAULT_SELECT
    names = frozenset(name.strip() for name in query["$select"].split(","))
    if unknown := sorted(names - SELECTABLE):
        raise bad_request(
            "Parsing OData Select and Expand failed: Could not find a property named "
            f"'{unknown[0]}' on type 'microsoft.graph.user'."
        )
    return names - {"id"}


def list_page_size(query: Query) -> int:
    """Return the `$top` of a plain list.

    Raises:
        Refusal: Graph has no pages of that size.
    """
    text = query.get("$top", str(USUAL_LIST_PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_ON_A_LIST_PAGE):
        raise bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {MOST_ON_A_LIST_PAGE}.")
    return int(text)
