"""What the reason means for which the app refused a request, and what to do about it, from the event alone."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from shared.core.entra import aadsts

# A part of the reason -> what to do about it; {caller} and {scope} stand for those of the request.
REMEDIES = (
    (r"unknown key|key of another caller", "./vend callers list: is it there, and does it use the key of this app?"),
    (r"malformed key", "a key has 16 to 512 visible ASCII characters, no comma, and is sent once"),
    (r"the time of .* is over", "move its not_after in callers.toml, or remove it"),
    (r"no valid (settings|callers document)", "./vend check names every mistake in the two documents"),
    (
        r"over the caller's rate",
        "let it keep a token until it expires, or raise per_worker_per_minute of callers.{caller}",
    ),
    (
        r"over the rate of challenges",
        "let it pass on each challenge of its API once; claims_per_minute of [limits] says how many it may",
    ),
    (r"the entry of .* has mistakes", "./vend check names each mistake of that entry"),
    (r"RouteDisabled", "app_checked_routes = true in vend.toml opens this route; read docs/configuration.md first"),
    (r"no entry lists|resolve the entry|may have nothing", "./vend callers explain {caller} --scope {scope}"),
    (
        r"timeout|no connection|broken|ran out|in time$|HTTP (408|429|5\d\d)|acquired just now|too many requests wait",
        "wait: callers were told when to retry",
    ),
)


def explained(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return the meaning of the reason, if it is a number of Entra's, and the next step."""
    reason = str(event.get("reason", ""))
    if code := re.search(r"\bAADSTS(\d{4,9})\b", reason):
        known = aadsts.meaning(int(code[1]))
        return known or ("", f"https://login.microsoftonline.com/error?code={code[1]}")
    for pattern, remedy in REMEDIES:
        if re.search(pattern, reason):
            scope = shlex.quote(str(event.get("scope", "")))
            return "", remedy.format(caller=event.get("caller", "NAME"), scope=scope)
    return "", ""


def in_short(remedy: str) -> str:
    """Return what to do, without the details or the command behind the colon."""
    return remedy.partition(": ")[0]
