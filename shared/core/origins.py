"""Where a request may go: an origin is scheme, host and port (RFC 6454 section 4)."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
URL_LENGTH = 8 * 1024


class Origin(NamedTuple):
    """Scheme, host in lower case and port of a URL."""

    scheme: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return self.host in LOOPBACK


def origin_of(url: str) -> Origin | None:
    """Return the origin of an http or https URL, or None for a URL that two readers could understand differently.

    Refused are user names, backslashes, white space, control and non-ASCII characters, port 0, and over 8 KiB.
    """
    if len(url) > URL_LENGTH or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, authority = parts.scheme.lower(), parts.netloc.lower()
    host = authority.removesuffix(f":{port}") if port is not None else authority
    if scheme not in _PORTS or port == 0 or not _HOST.fullmatch(host):
        return None
    return Origin(scheme, host, port or _PORTS[scheme])


def is_bare_https(url: str) -> bool:
    """Return whether a URL is an https origin and nothing else: no path, query or fragment."""
    origin = origin_of(url)
    if origin is None or origin.scheme != "https":
        return False
    rest = url.partition("://")[2].lower().removesuffix("/")
    return rest in {origin.host, f"{origin.host}:{origin.port}"}
