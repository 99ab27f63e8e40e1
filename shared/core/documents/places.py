"""Where a document says that something is: a proxy, a file or a blob."""

import re
from urllib.parse import urlsplit

from shared.core.origins import is_bare_https


def is_proxy(url: str) -> bool:
    """Return whether a URL can be that of a proxy, which may hold a user name and a password."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_url(place: str) -> bool:
    """Return whether a document is named by its URL, not by its path."""
    return "://" in place


def is_blob(url: str) -> bool:
    """Return whether a URL is that of a blob: an https origin, a container and a name."""
    found = re.fullmatch(r"(https://[^/?#]+)/[A-Za-z0-9$-]+(/[\w.~-]+)+", url, re.ASCII)
    return found is not None and is_bare_https(found[1]) and not {".", ".."} & set(url.split("/"))
