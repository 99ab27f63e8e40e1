"""The server side of TLS, correct or with one flaw that a client must reject.

Each flawed certificate has one mistake. `old_version` negotiates TLS 1.1 at most. `cut_off` needs no context of its
own: the connection ends within the first message of the handshake.
"""

import datetime as dt
import ssl
import warnings
from enum import StrEnum
from functools import cache

from emulator.network.ca import CertificateAuthority

# A handshake record that announces a ServerHello of 122 bytes and has its first two (RFC 8446 sections 4 and 5.1).
HALF_SERVER_HELLO = bytes.fromhex("160303007a 02000076 0303")


class Flaw(StrEnum):
    """A mistake in the server side of TLS."""

    EXPIRED = "expired"  # the certificate ended yesterday
    WRONG_HOST = "wrong_host"  # the certificate is for another name
    UNKNOWN_ROOT = "unknown_root"  # no client trusts the authority of the certificate
    OLD_VERSION = "old_version"  # nothing newer than TLS 1.1
    CUT_OFF = "cut_off"  # the connection ends within the handshake


class ServerTls:
    """The TLS contexts of one authority; each flawed one is created at its first use."""

    def __init__(self, ca: CertificateAuthority, names: tuple[str, ...]) -> None:
        self._ca = ca
        self._names = names
        self.good = ca.server_context(*names)
        self.flawed = cache(self._flawed)

    def _flawed(self, flaw: Flaw) -> ssl.SSLContext:
        match flaw:
            case Flaw.EXPIRED:
                yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
                start = yesterday - dt.timedelta(days=1)
                return self._ca.server_context(*self._names, not_before=start, not_after=yesterday)
            case Flaw.WRONG_HOST:
                return self._ca.server_context("elsewhere.example")
            case Flaw.UNKNOWN_ROOT:
                return CertificateAuthority().server_context(*self._names)
            case Flaw.OLD_VERSION:
                context = self._ca.server_context(*self._names)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # a deprecated version is the purpose
                    context.minimum_version = ssl.TLSVersion.TLSv1
                    context.maximum_version = ssl.TLSVersion.TLSv1_1
                context.set_ciphers("ALL:@SECLEVEL=0")  # where the system's OpenSSL allows it at all
                return context
            case Flaw.CUT_OFF:
                raise ValueError("no handshake, no context")
