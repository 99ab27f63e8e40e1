"""A throw-away certificate authority: created at start, trusted by this machine's own processes alone."""

import datetime as dt
import ssl
from pathlib import Path

import trustme


class CertificateAuthority:
    """Issues server certificates; every private key exists in memory alone."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="vend local cloud")

    def write(self, folder: Path) -> Path:
        """Write the authority's own certificate for its clients and return the path, `ca.pem` in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(file)
        return file

    def server_context(
        self, *names: str, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> ssl.SSLContext:
        """Return the server side of TLS 1.2 or later, with a new certificate for these DNS names.

        A certificate for `localhost` is for 127.0.0.1 too. Without dates it is valid now.
        """
        addresses = ("127.0.0.1",) if "localhost" in names else ()
        certificate = self._ca.issue_cert(*names, *addresses, not_before=not_before, not_after=not_after)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate.configure_cert(context)  # through a temporary file with mode 0600
        return context
