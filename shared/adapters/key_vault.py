"""Key Vault: reads certificates and has it sign. The private key stays there.

Rights that signing needs: certificates/read and keys/sign, and not secrets. A client secret and the key of an
exportable certificate need secrets/getSecret and secrets/readMetadata, on that one secret.
https://learn.microsoft.com/azure/key-vault/certificates/about-certificates
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from shared.adapters.http import Upstream
from shared.adapters.own_identity import GetToken, authorized
from shared.core.encoding import from_any_base64
from shared.core.entra.certificate import Certificate, VersionSummary, read_certificate
from shared.core.entra.jws import Algorithm
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply, json_object
from shared.core.retry import retry_after
from shared.core.token import Clock

NAME = "Key Vault"
API_VERSION = "7.4"
"""The oldest one that has all that is asked: https://learn.microsoft.com/rest/api/keyvault/"""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
RIGHTS = "the app's identity needs certificates/read in this vault, and to sign there also keys/sign"
SECRET_RIGHTS = "the app's identity needs secrets/getSecret and secrets/readMetadata on this one secret"
WITHOUT_RIGHTS = frozenset({"ForbiddenByRbac", "ForbiddenByPolicy", "AccessDenied"})
REMEDIES: Mapping[str, str] = {
    "ForbiddenByFirewall": "let the app through the vault's firewall: its subnet, or its outbound addresses",
    "ForbiddenByConnection": "the vault takes private connections alone: give the app a private endpoint and its DNS",
    "KeyDisabled": "enable this version of the certificate, or make a new one",
    "CertificateDisabled": "enable this version of the certificate, or make a new one",
    "CertificateNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "KeyNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "SecretDisabled": "enable this version of the secret, or make a new one",
    "SecretNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "AKV10032": "the vault is of another tenant than the app's identity: use a vault in the tenant of that identity",
    "AKV10022": "compare cloud in vend.toml with the cloud of the vault",
}
"""By the code that the vault gives, or the number in its message: what the operator should do.

https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
"""
_AKV = re.compile(r"AKV1[0-9]{4}\b")
VERSIONS = 1_000
"""How many versions one certificate or secret may have: each flight orders them all."""
PAGES = 50
"""How many pages one list has: Key Vault puts 25 versions on a page."""
_VERSION = re.compile(r"[0-9a-f]{32}")
"""Key Vault's own form of a version; it is named in causes and events, so that no other text is taken for one."""
_ID = re.compile(r"https://[^/?#\s]+/(?:certificates|keys|secrets)/([^/?#\s]+)/([^/?#\s]+)")
"""https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers"""
_UNREADABLE = f"{NAME}: an answer that cannot be read"


class KeyVault:
    """One vault.

    It is asked with a token at once: vend knows the audience, so no 401 has to tell it first.

    Args:
        url: of the vault.
        get_token: of Key Vault.
        upstream: sends the requests, to this vault alone.
        clock: both clocks.
    """

    def __init__(
        self,
        url: str,
        *,
        get_token: GetToken,
        upstream: Upstream,
        clock: Clock,
    ) -> None:
        self.url = url.rstrip("/")
        self._get_token = get_token
        self._upstream = upstream
        self._clock = clock

    async def certificate_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a certificate.

        Raises:
            OperatorError: the vault refuses the app's identity, has no such certificate, or more than `VERSIONS` of it.
            Unavailable: the vault or the managed identity failed, throttled or could not be reached.
            BadAnswer: the answer cannot be read, is about something else, or has more than `PAGES` pages.
        """
        return await self._versions("certificates", name, rights=RIGHTS)

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Return one version of a certificate, and the id of its key; errors as in `certificate_versions`."""
        found = await self._get(f"{self.url}/certificates/{name}/{version}", rights=RIGHTS)
        _check_version(found, name, version)
        return read_certificate(_decoded(found.get("cer")), name=f"{name}/{version}"), _text(found.get("kid"))

    async def sign(self, key_id: str, digest: bytes, algorithm: Algorithm) -> bytes:
        """Sign a SHA-256 digest by a key; errors as in `certificate_versions`."""
        if not _ID.fullmatch(key_id):
            raise BadAnswer(cause=f"{NAME}: a certificate whose key has no usable id")
        asked = {"alg": algorithm.value, "value": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}
        found = await self._asked("POST", f"{key_id}/sign", rights=RIGHTS, content=json.dumps(asked).encode())
        return _decoded(found.get("value"))

    async def secret_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a secret; errors as in `certificate_versions`."""
        return await self._versions("secrets", name, rights=SECRET_RIGHTS)

    async def secret(self, name: str, version: str) -> str:
        """Return what one version of a secret holds; errors as in `certificate_versions`."""
        found = await self._get(f"{self.url}/secrets/{name}/{version}", rights=SECRET_RIGHTS)
        _check_version(found, name, version)
        return _text(found.get("value"))

    async def _versions(self, kind: str, name: str, *, rights: str) -> list[VersionSummary]:
        """Read a list page by page; a version whose name has not the form of Key Vault's is skipped."""
        versions: list[VersionSummary] = []
        count = 0
        url = f"{self.url}/{kind}/{name}/versions"
        for _ in range(PAGES):
            page = await self._get(url, rights=rights)
            for each in _items(page):
                count += 1
                if count > VERSIONS:
                    remedy = "make a new certificate or secret under another name, and name it in vend.toml"
                    raise OperatorError(cause=f"{NAME}: more than {VERSIONS} versions", remedy=remedy).about(name)
                version = _version_of(each, name)
                if _VERSION.fullmatch(version):
                    versions.append(_summary(version, each))
            if not page.get("nextLink"):
                return versions
            url = _text(page["nextLink"])
        raise BadAnswer(cause=f"{NAME}: a list of more than {PAGES} pages")

    async def _get(self, url: str, *, rights: str) -> dict[str, Any]:
        return await self._asked("GET", url, rights=rights)

    async def _asked(self, method: str, url: str, *, rights: str, content: bytes = b"") -> dict[str, Any]:
        """Return the object that the vault answers with; raise what any other answer means."""
        address = url if "?" in url else f"{url}?api-version={API_VERSION}"  # the link to a next page has its own
        media = {"content-type": "application/json"} if content else {}

        async def send(token: Mapping[str, str]) -> Reply:
            return await self._upstream.send(method, address, headers={**token, **media}, content=content)

        reply = await authorized(send, self._get_token)
        if reply.status != 200:
            raise self._failure(reply, rights=rights)
        found = json_object(reply.body)
        if found is None:
            raise BadAnswer(cause=_UNREADABLE)
        return found

    def _failure(self, reply: Reply, *, rights: str) -> UpstreamError:
        """Return what a refusal of the vault means, without its words: they name vault, identity and tenant."""
        if reply.status < 300:
            return BadAnswer(cause=_UNREADABLE)
        code = _code(reply.body)
        cause = f"{NAME}: HTTP {reply.status}" + (f" {code}" if code else "")
        if reply.status in {408, 429} or reply.status >= 500:
            wait = retry_after(reply.headers, now=self._clock().wall)
            return Unavailable(cause=cause, upstream_wait=wait)
        return OperatorError(cause=cause, remedy=rights if code in WITHOUT_RIGHTS else REMEDIES.get(code))


def _items(page: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the items of a page."""
    found = page.get("value")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadAnswer(cause=_UNREADABLE)
    return found


def _check_version(found: Mapping[str, Any], name: str, version: str) -> None:
    """Raise BadAnswer where an answer is about another version: what one holds is kept for good."""
    if _version_of(found, name) != version:
        raise BadAnswer(cause=f"{NAME}: an answer about another version")


def _version_of(found: Mapping[str, Any], name: str) -> str:
    """Return the version that an answer is about.

    Raises:
        BadAnswer: it is about another certificate or secret; Key Vault's names ignore case.
    """
    parts = _ID.fullmatch(_text(found.get("id")))
    if parts is None or parts[1].lower() != name.lower():
        raise BadAnswer(cause=f"{NAME}: an answer about another certificate or secret")
    return parts[2]


def _summary(version: str, found: Mapping[str, Any]) -> VersionSummary:
    attributes = found.get("attributes")
    if not isinstance(attributes, dict):
        raise BadAnswer(cause=_UNREADABLE)
    return VersionSummary(
        version=version,
        enabled=attributes.get("enabled") is True,
        created=_moment(attributes.get("created")) or _BEGINNING,
        not_before=_moment(attributes.get("nbf")),
        not_after=_moment(attributes.get("exp")),
    )


def _moment(seconds: object) -> datetime | None:
    """Return a moment from its seconds since 1970, or None where there is none."""
    if seconds is None:
        return None
    if type(seconds) is int:
        with suppress(OverflowError, OSError, ValueError):
            return datetime.fromtimestamp(seconds, UTC)
    raise BadAnswer(cause=_UNREADABLE)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadAnswer(cause=_UNREADABLE)
    return value


def _decoded(value: object) -> bytes:
    """Return what base64 stands for: a certificate comes in its usual alphabet, a signature in that of URLs."""
    with suppress(ValueError):
        return from_any_base64(_text(value))
    raise BadAnswer(cause=_UNREADABLE)


def _code(body: bytes) -> str:
    """Return the narrowest code of a refusal that has a remedy, or ""; nothing else of the answer gets out."""
    error = (json_object(body) or {}).get("error")
    found = ""
    message = error.get("message") if isinstance(error, dict) else None
    if isinstance(message, str) and (number := _AKV.search(message)):
        found = number[0] if number[0] in REMEDIES else ""
    while isinstance(error, dict):
        code = error.get("code")
        found = code if isinstance(code, str) and (code in REMEDIES or code in WITHOUT_RIGHTS) else found
        error = error.get("innererror") or error.get("innerError")
    return found
