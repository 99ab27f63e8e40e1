"""How delta query behaves where Microsoft's pages permit more than one behaviour, or reports name a harder one.

The defaults are the documented behaviour. A test sets an attribute; another process sends the same names as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from emulator.refusal import Refusal

DAY = 86400.0
MOST_ON_A_PAGE = 200


@dataclass(frozen=True)
class TokenRefusal:
    """The answer to a link whose token is dead; `restarts` adds the `Location` of a new round."""

    status: int
    code: str
    message: str
    restarts: bool = False

    def at(self, location: str) -> Refusal:
        """Return the refusal; a new round begins at the location."""
        headers = {"Location": location} if self.restarts else {}
        return Refusal(self.status, self.message, code=self.code, headers=headers)


SYNC_STATE_NOT_FOUND = TokenRefusal(400, "syncStateNotFound", "The sync state is not found; start again.")
GONE = TokenRefusal(410, "SyncStateNotFound", "The sync state generation is not found.", restarts=True)
RESYNC_REQUIRED = TokenRefusal(410, "resyncRequired", "Resync required. Replace any local items.", restarts=True)
EXPIRED_PAGE_TOKEN = TokenRefusal(
    400,
    "Directory_ExpiredPageToken",
    "The specified page token value has expired and can no longer be included in your request.",
)
UNKNOWN_ERROR = TokenRefusal(404, "UnknownError", "")
STEADY_STATE = TokenRefusal(400, "Request_BadRequest", "Sync must reach steady state within 30 days.")
TOKEN_REFUSALS: Mapping[str, TokenRefusal] = {
    "sync_state_not_found": SYNC_STATE_NOT_FOUND,
    "gone": GONE,
    "resync_required": RESYNC_REQUIRED,
    "expired_page_token": EXPIRED_PAGE_TOKEN,
    "unknown_error": UNKNOWN_ERROR,
    "steady_state": STEADY_STATE,
}
"""By the name in JSON."""


@dataclass
class Switches:
    """The switches of delta query.

    Pages:
        page_size: objects on a page; Graph has 200 and never more, whatever `$top` says.
        group_page_sizes: groups on one page after the other, over and over; at most `page_size`.
        links_per_page: members, owners and managers on a page. The next page continues with the same object.
        shuffled: a round is in no useful order.
        repeats: half of the objects come twice in a round, and each round repeats the changes of the round before.
        empty_pages_first: how many empty pages a round begins with.
        empty_pages_between: how many empty pages stand between two others.
        same_page_for_ever: a next link leads to the page that it came with, each time with a new token.
        page_seconds: how long a page takes; see `Graph.pass_time`.
        link_root: what links begin with in place of Graph's own address.

    Rows:
        nulls_in_first_round: a first round has null for what was never set or was cleared, instead of nothing.
        removed_in_first_round: a first round has what was removed before: objects, and members of a group.
        removed_reason: the annotation of an object in the recycle bin.
        purged_reason: the annotation of an object that is gone for good.
        restores_told: whether a round with `$select` mentions that an object came back from the recycle bin.
        purges_told: whether a round mentions an object that is gone for good.
        withheld: properties and relationships that no row has, as if a permission had been taken away.
        expand_selects: `$expand=members` selects the relationship as older pages say; else it is ignored.
        lag_seconds: how much later a change appears in a round.

    Tokens:
        page_token_seconds: how long a next link is good. No page says it; "minutes" has been reported.
        delta_token_seconds: how long a delta link is good.
        refused_next_links: how many of the coming requests with a next link are refused, however new it is.
        page_refusal: the answer to a next link that is not good any more.
        delta_refusal: the answer to a delta link that is not good any more.

    Requests:
        group_member_read_suffices: whether `GroupMember.Read.All` reads groups; the pages disagree.
        throttle_percentage: the header `x-ms-throttle-limit-percentage` of every answer from 0.8 on, up to 1.8.
    """

    page_size: int = MOST_ON_A_PAGE
    group_page_sizes: tuple[int, ...] = (200, 120, 30, 1, 60)
    links_per_page: int = 500
    shuffled: bool = False
    repeats: bool = False
    empty_pages_first: int = 0
    empty_pages_between: int = 0
    same_page_for_ever: bool = False
    page_seconds: float = 0.0
    link_root: str = ""
    nulls_in_first_round: bool = False
    removed_in_first_round: bool = False
    removed_reason: object = field(default_factory=lambda: {"reason": "changed"})
    purged_reason: object = field(default_factory=lambda: {"reason": "deleted"})
    restores_told: bool = True
    purges_told: bool = True
    withheld: frozenset[str] = frozenset()
    expand_selects: bool = False
    lag_seconds: float = 0.0
    page_token_seconds: float = 7 * DAY
    delta_token_seconds: float = 7 * DAY
    refused_next_links: int = 0
    page_refusal: TokenRefusal = EXPIRED_PAGE_TOKEN
    delta_refusal: TokenRefusal = SYNC_STATE_NOT_FOUND
    group_member_read_suffices: bool = True
    throttle_percentage: float = 0.0

    def reset(self) -> None:
        """Return to the defaults."""
        vars(self).update(vars(Switches()))

    def read(self, document: Mapping[str, object]) -> None:
        """Set the switches that a JSON object names.

        Raises:
            ValueError: there is no such switch, or it takes another type; nothing is set then.
        """
        known = {each.name for each in fields(self)}
        if unknown := document.keys() - known:
            raise ValueError(f"the switches of delta query are {', '.join(sorted(known))}, not {min(unknown)}")
        vars(self).update({name: _value(name, value, vars(self)[name]) for name, value in document.items()})

    def written(self) -> Mapping[str, object]:
        """Return every switch as JSON."""
        names = {refusal: name for name, refusal in TOKEN_REFUSALS.items()}
        shown: dict[str, object] = {}
        for name, value in vars(self).items():
            match value:
                case TokenRefusal():
                    shown[name] = names.get(value, value.code)
                case frozenset():
                    shown[name] = sorted(value)
                case _:
                    shown[name] = value
        return shown


def _value(name: str, given: object, present: object) -> object:
    """Return the value of a switch.

    Raises:
        ValueError: it is not of the type of the present one.
    """
    if name.endswith("_reason"):
        return given
    match present, given:
        case TokenRefusal(), str() if given in TOKEN_REFUSALS:
            return TOKEN_REFUSALS[given]
        case frozenset(), list() if all(isinstance(each, str) for each in given):
            return frozenset(given)
        case tuple(), list() if given and all(type(each) is int and each > 0 for each in given):
            return tuple(given)
        case bool(), bool():
            return given
        case str(), str():
            return given
        case int(), int() if not isinstance(present, bool) and type(given) is int and given >= _least(name):
            return given
        case float(), int() | float() if not isinstance(given, bool) and given >= 0:
            return float(given)
    raise ValueError(f"{name} cannot be {json.dumps(given)}; now it is like {present!r}")


def _least(name: str) -> int:
    return 1 if name in {"page_size", "links_per_page"} else 0
