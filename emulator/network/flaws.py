"""The server's side of TLS as it should be, and as it must not be: what a client has to refuse.

The flawed certificates are real ones with one thing wrong each. `old_version` negotiates TLS 1.1 at the most;
`cut_off` needs no context of its own: it hangs up within its first message.
"""

import datetime as dt
import ssl
import tempfile
import warnings
from enum import StrEnum
from functools import cache
from pathlib import Path

from emulator.network.ca import CertificateAuthority

# A handshake record that announces a ServerHello of 122 bytes and brings the first two (RFC 8446 sections 4 and 5.1).
HALF_SERVER_HELLO = bytes.fromhex("160303007a 02000076 0303")


class Flaw(StrEnum):
    """What is wrong with a server's side of TLS."""

    EXPIRED = "expired"  # the certificate ended yesterday
    WRONG_HOST = "wrong_host"  # the certificate is for another name
    UNKNOWN_ROOT = "unknown_root"  # nobody trusts who signed the certificate
    OLD_VERSION = "old_version"  # nothing newer than TLS 1.1
    CUT_OFF = "cut_off"  # the connection ends within the handshake


class ServerTls:
    """Makes contexts by one authority; each flawed one when it is first wanted."""

    def __init__(self, ca: CertificateAuthority, names: tuple[str, ...]) -> None:
        self._ca = ca
        self._names = names
        self.good = ca.issue(*names).context()
        self.flawed = cache(self._flawed)

    def _flawed(self, flaw: Flaw) -> ssl.SSLContext:
        match flaw:
            case Flaw.EXPIRED:
                yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
                start = yesterday - dt.timedelta(days=1)
                return self._ca.issue(*self._names, not_before=start, not_after=yesterday).context()
            case Flaw.WRONG_HOST:
                return self._ca.issue("elsewhere.example").context()
            case Flaw.UNKNOWN_ROOT:
                with tempfile.TemporaryDirectory() as folder:
                    return CertificateAuthority(Path(folder)).issue(*self._names).context()
            case Flaw.OLD_VERSION:
                context = self._ca.issue(*self._names).context()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # deprecated is what it is to be
                    context.minimum_version = ssl.TLSVersion.TLSv1
                    context.maximum_version = ssl.TLSVersion.TLSv1_1
                context.set_ciphers("ALL:@SECLEVEL=0")  # where the system's OpenSSL allows it at all
                return context
            case Flaw.CUT_OFF:
                raise ValueError("no handshake, no context")
