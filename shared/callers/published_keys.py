"""Asks an issuer for its keys: at the URL that vend.toml names, or by the issuer's own discovery document."""

from collections.abc import Mapping
from typing import Protocol

from shared.core.documents.issuers import DISCOVERY, IssuerSettings, is_https
from shared.core.errors import BadAnswer, Unavailable, UnreadableAnswer
from shared.core.origins import origin_of
from shared.core.reply import Reply, json_object
from shared.core.verification_keys import KeySet, read_key_set


class Get(Protocol):
    """Gets an answer from an issuer."""

    async def __call__(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        """Return the answer; raise an `UpstreamError` where there is none."""


def name_of(issuer: IssuerSettings) -> str:
    """Return what events and errors call an issuer."""
    return f"issuer {issuer.name}"


async def published_keys(issuer: IssuerSettings, get: Get) -> KeySet:
    """Return the keys that an issuer publishes now.

    Args:
        issuer: with `jwks`.
        get: asks the issuer, and nobody else.

    Raises:
        UpstreamError: they cannot be had.
    """
    url, of = issuer.jwks, name_of(issuer)
    if url.endswith(DISCOVERY):
        url = _keys_url(await _body(url, get, of), issuer)
    return read_key_set(await _body(url, get, of), of=of)


async def _body(url: str, get: Get, of: str) -> bytes:
    reply = await get(url, headers={})
    if reply.status != 200:
        raise Unavailable(cause=f"{of}: answered {reply.status}")
    return reply.body


def _keys_url(body: bytes, issuer: IssuerSettings) -> str:
    """Return where the metadata of an issuer says that its keys are (OpenID Connect Discovery 1.0 section 4.3)."""
    of, metadata = name_of(issuer), json_object(body)
    if metadata is None:
        raise UnreadableAnswer(cause=f"{of}: the metadata is not a JSON object")
    if metadata.get("issuer") != issuer.issuer:
        raise BadAnswer(cause=f"{of}: the metadata is that of another issuer")
    url = metadata.get("jwks_uri")
    if not isinstance(url, str) or not is_https(url) or origin_of(url) != origin_of(issuer.issuer):
        raise BadAnswer(cause=f"{of}: jwks_uri is at another origin")
    return url
