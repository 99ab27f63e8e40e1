"""`[issuers.NAME]` of vend.toml: whose identity tokens prove callers, and with which keys those are signed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from shared.core.documents.table import dotted
from shared.core.entra.clouds import CLOUDS, Cloud
from shared.core.identity_token import Issuer
from shared.core.names import GUID
from shared.core.origins import origin_of
from shared.core.rules import NOTHING, breaks, is_whole, items, tables
from shared.core.verification_keys import KeySet, TokenAlgorithm, VerificationKey, read_key

DISCOVERY = "/.well-known/openid-configuration"
"""How the URL of an issuer's metadata ends."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
# https://learn.microsoft.com/entra/identity-platform/access-tokens#token-formats
_ENTRA = re.compile(rf"https://[^/]+/(?P<tenant>{GUID})/(?P<version>v2\.0)?\Z")
# Of Microsoft's own services, the same in every tenant: Graph, Azure AD Graph, Key Vault, Azure Storage, Azure Resource
# Manager, and the exchange of federated credentials.
_MICROSOFTS = frozenset(
    {
        "00000003-0000-0000-c000-000000000000",
        "00000002-0000-0000-c000-000000000000",
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
        "e406a681-f3d4-42a8-90b6-c2b029497af1",
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",
        "fb60f99c-7a34-4190-8149-302f77469936",
        "https://graph.windows.net",
        "https://storage.azure.com",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InlineKey:
    """One of `[issuers.NAME] keys`: a public key as a JSON Web Key (RFC 7517)."""

    kty: str
    kid: str | None = None
    alg: TokenAlgorithm | None = None
    use: str = "sig"
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        if not is_whole(self):
            return []
        try:
            self.key  # noqa: B018  # it is read
        except ValueError as error:
            return [f"{at}: {error}"]
        return []

    @property
    def key(self) -> VerificationKey:
        """The key; raises `ValueError` where it is none."""
        members = {each.name: getattr(self, each.name) for each in fields(self)}
        return read_key({name: value for name, value in members.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """`[issuers.NAME]`: one issuer of identity tokens."""

    name: str
    issuer: str
    audience: str
    jwks: str = ""
    keys: tuple[InlineKey, ...] = ()
    algorithms: tuple[TokenAlgorithm, ...] = (TokenAlgorithm.RS256, TokenAlgorithm.PS256, TokenAlgorithm.ES256)

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        found = []
        if not _NAME.match(self.name):
            found.append(f"{at}: a name has letters, digits, dots, dashes and underscores, at most 64")
        if breaks(lambda jwks, keys: jwks or keys, self.jwks, self.keys):
            found.append(f"{at}.jwks: is missing, and so is keys")
        if breaks(lambda jwks, keys: not (jwks and keys), self.jwks, self.keys):
            found.append(f"{at}.jwks: stands beside keys, of which one alone decides")
        if breaks(lambda jwks: not jwks or is_https(jwks), self.jwks):
            found.append(f"{at}.jwks: must be an https URL without a query")
        if breaks(lambda jwks, url: not jwks.endswith(DISCOVERY) or jwks == discovery_url(url), self.jwks, self.issuer):
            found.append(f"{at}.jwks: is the discovery document of another issuer")
        if breaks(len, self.issuer):
            found.append(f"{at}.issuer: is empty")
        if breaks(len, self.audience):
            found.append(f"{at}.audience: is empty")
        return found

    @property
    def trusted(self) -> Issuer:
        """The issuer in the form by which tokens are checked."""
        entra = _ENTRA.match(self.issuer)
        return Issuer(
            name=self.name,
            url=self.issuer,
            audience=self.audience,
            algorithms=frozenset(self.algorithms),
            tenant_id=entra["tenant"].lower() if entra else "",
            version="" if entra is None else "2.0" if entra["version"] else "1.0",
        )

    @property
    def key_set(self) -> KeySet:
        """Its inline keys."""
        return KeySet(tuple(inline.key for inline in self.keys), digest="inline")


def is_https(url: str) -> bool:
    """Return whether a URL is one of https, without a query and a fragment."""
    origin = origin_of(url)
    return origin is not None and origin.scheme == "https" and not {"?", "#"} & set(url)


def issuer_mistakes(issuers: Mapping[str, IssuerSettings], home: Cloud | None) -> Iterator[str]:
    """List what no issuer shows alone: two with one URL, and an audience that is another service's.

    Args:
        issuers: what was wrong in them is `NOTHING`.
        home: the cloud of the profiles; None where a mistake leaves it open.
    """
    seen: dict[str, str] = {}
    foreign = _MICROSOFTS.union(*map(_audiences, (*CLOUDS.values(), *([home] if home else ()))))
    for name, each in tables(issuers).items():
        at = dotted("issuers", name)
        if each.issuer is not NOTHING and (first := seen.setdefault(each.issuer, name)) != name:
            yield f"{at}.issuer: is that of {dotted('issuers', first)} too"
        if breaks(lambda audience: audience.lower().rstrip("/") not in foreign, each.audience):
            yield f"{at}.audience: is that of a service of Microsoft; vend needs one of its own"
        if each.algorithms is not NOTHING:
            yield from _unusable(at, each)


def _audiences(cloud: Cloud) -> frozenset[str]:
    """Return the audiences of a cloud's services that tokens of an identity are often for."""
    scopes = (cloud.vault_scope, cloud.graph_scope)
    urls = (*(scope.removesuffix("/.default") for scope in scopes), cloud.management, cloud.token_exchange_audience)
    return frozenset(url.lower().rstrip("/") for url in urls)


def _unusable(at: str, issuer: IssuerSettings) -> Iterator[str]:
    """List the inline keys that no algorithm of their issuer uses."""
    for index, inline in items(issuer.keys):
        if not is_whole(inline) or inline.mistakes(""):
            continue
        if not any(inline.key.fits(algorithm) for _, algorithm in items(issuer.algorithms)):
            yield f"{at}.keys[{index}]: is of no use to the algorithms of its issuer"


def discovery_url(issuer: str) -> str:
    """Return where an issuer publishes its metadata (OpenID Connect Discovery 1.0 section 4)."""
    return f"{issuer.removesuffix('/')}{DISCOVERY}"
