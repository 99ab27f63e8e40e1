"""The events of the callers document."""

from typing import Annotated

from shared.telemetry.catalogue.fields import InForce, Kept, KeptDocument, Mistakes, Newest
from shared.telemetry.event import About, Doc, Event, declared


@declared
class CallersChanged(Event):
    """This worker has put a new callers document in force."""

    about = About("callers_changed")

    count: Annotated[int, Doc("number of callers that are served", {"minimum": 0})]
    generation: Annotated[int, Doc("`generation` of the document; a higher one than before has emptied the cache")]
    in_force: InForce


@declared
class CallersRefused(Event):
    """The callers document that this worker has put in force has mistakes: some callers are refused or lack a grant."""

    about = About(
        "callers_refused",
        remedy="correct each mistake; where a profile lacks what an entry lists, deploy `vend.toml` first",
    )

    count: Annotated[int, Doc("callers that are refused or lack a grant", {"minimum": 1})]
    in_force: InForce
    mistakes: Mistakes


@declared
class CallersWarning(Event):
    """The callers document that this worker has put in force has entries that are probably a slip."""

    about = About(
        "callers_warning",
        remedy="follow `warnings`: keep one of two grants for a scope; "
        "write each `key_sha256` as 64 lower-case hex digits",
    )

    in_force: InForce
    warnings: Annotated[list[str], Doc("each by its dotted key")]


@declared
class CallerEnds(Event):
    """The `not_after` of callers is near. A worker reports each end 30, 7 and 1 days ahead, once each."""

    about = About(
        "caller_ends",
        remedy="move the end by `./vend callers set NAME --not-after`, or revoke the caller; `./vend callers list` "
        "has every end",
    )

    number: Annotated[int, Doc("how many callers are told with this event", {"minimum": 1})]
    days: Annotated[int, Doc("within how many days the first of them ends", {"enum": [1, 7, 30]})]
    first_end: Annotated[str, Doc("when the first of them ends", {"format": "date-time"})]
    callers: Annotated[list[str], Doc("their names, the first end first; at most 10", {"maxItems": 10})]


@declared
class CallersInvalid(Event):
    """The callers document has mistakes that concern all callers; vend does not put it in force."""

    about = About("callers_invalid", remedy="correct each mistake; `./vend check` names them too")

    outcome: KeptDocument
    in_force: InForce | None = None
    newest: Newest
    mistakes: Mistakes


@declared
class CallersUnread(Event):
    """The callers document cannot be read; the one in force stays, if there is one."""

    about = About("callers_unread", remedy="check that the file or blob exists and that the app may read it")

    outcome: KeptDocument
    cause: Annotated[str, Doc("name of the document, and a short name of the cause")]


@declared
class IssuerKeysChanged(Event):
    """An issuer has other keys than before; identity tokens signed by a removed key are refused from now on."""

    about = About("issuer_keys_changed")

    issuer: Annotated[str, Doc("name of the issuer in `vend.toml`")]
    count: Annotated[int, Doc("number of its keys that can verify a token", {"minimum": 1})]


@declared
class IssuerUnread(Event):
    """The keys of an issuer of identity tokens cannot be read; the last good ones stay, if there are any."""

    about = About(
        "issuer_unread",
        remedy="check that the issuer is up and that the app can reach it; the last good keys count for two days, and "
        "without any its callers get 503",
    )

    issuer: Annotated[str, Doc("name of the issuer in `vend.toml`")]
    outcome: Annotated[Kept, Doc("whether earlier keys stay in force")]
    cause: Annotated[str, Doc("a short name of the cause")]
