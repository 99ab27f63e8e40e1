"""The events of the callers document."""

from dataclasses import dataclass
from typing import Annotated

from shared.telemetry.catalogue.fields import InForce, Kept, KeptDocument, Mistakes, Newest
from shared.telemetry.event import About, Doc, Event


@dataclass(slots=True, kw_only=True)
class CallersChanged(Event):
    """This worker has put a new callers document in force."""

    about = About("callers_changed")

    count: Annotated[int, Doc("number of callers that are served", {"minimum": 0})]
    generation: Annotated[int, Doc("`generation` of the document; a higher one than before has emptied the cache")]
    in_force: InForce


@dataclass(slots=True, kw_only=True)
class CallersRefused(Event):
    """The callers document that this worker has put in force has mistakes: some callers are refused or lack a grant."""

    about = About(
        "callers_refused",
        remedy="correct each mistake; where a profile lacks what an entry lists, deploy `vend.toml` first",
    )

    count: Annotated[int, Doc("callers that are refused or lack a grant", {"minimum": 1})]
    in_force: InForce
    mistakes: Mistakes


@dataclass(slots=True, kw_only=True)
class CallersWarning(Event):
    """The callers document that this worker has put in force has entries that are probably a slip."""

    about = About(
        "callers_warning",
        remedy="follow `warnings`: keep one of two entries for a scope, and write each key so that it can be read",
    )

    in_force: InForce
    warnings: Annotated[list[str], Doc("each by its dotted key")]


@dataclass(slots=True, kw_only=True)
class CallersInvalid(Event):
    """The callers document has mistakes that concern all callers; vend does not put it in force."""

    about = About("callers_invalid", remedy="correct each mistake; `./vend check` names them too")

    outcome: KeptDocument
    in_force: InForce | None = None
    newest: Newest
    mistakes: Mistakes


@dataclass(slots=True, kw_only=True)
class CallersUnread(Event):
    """The callers document cannot be read; the one in force stays, if there is one."""

    about = About("callers_unread", remedy="check that the file or blob exists and that the app may read it")

    outcome: KeptDocument
    cause: Annotated[str, Doc("name of the document, and a short name of the cause")]


@dataclass(slots=True, kw_only=True)
class IssuerKeysChanged(Event):
    """An issuer has other keys than before; identity tokens signed by a removed key are refused from now on."""

    about = About("issuer_keys_changed")

    issuer: Annotated[str, Doc("name of the issuer in `vend.toml`")]
    count: Annotated[int, Doc("number of its keys that can verify a token", {"minimum": 1})]


@dataclass(slots=True, kw_only=True)
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
