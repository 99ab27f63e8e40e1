"""vend.toml: what it may say, and every mistake in it.

Tables are checked first, each on its own, and then what two of them must agree on. A mistake hides no other: a rule
looks at the values that could be read (`core/rules.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.core.documents.credentials import CertificateFileSettings, CertificateSettings, CredentialSettings
from shared.core.documents.issuers import IssuerSettings, issuer_mistakes
from shared.core.documents.places import is_blob, is_proxy, is_url
from shared.core.documents.sync import SyncSettings, store_mistakes
from shared.core.documents.table import Unset, dotted, read_table
from shared.core.documents.toml import DocumentError, parse_toml
from shared.core.entra.clouds import CLOUDS, Cloud
from shared.core.limits import OF_GRAPH, Limits
from shared.core.names import is_default_scope, is_guid
from shared.core.origins import is_bare_https
from shared.core.policy import Offer
from shared.core.rules import NOTHING, breaks, is_whole, items, tables

ON_AZURE = ("WEBSITE_INSTANCE_ID", "CONTAINER_NAME", "WEBSITE_POD_NAME")
"""Variables of which one at least is set by every plan of Azure Functions; Flex does not set the first."""

_VARIABLE = re.compile(r"\$(\$\{|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_REGION = re.compile(r"[a-z][a-z0-9]{1,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`[profiles.NAME]`: one client, its credentials, and what may be vended from it."""

    name: str
    tenants: tuple[str, ...]
    client_id: str
    scopes: tuple[str, ...]
    credentials: tuple[CredentialSettings, ...]
    vendable: bool = True
    share: bool = True
    region: str = ""
    claims_capabilities: tuple[str, ...] = ()
    application_object_id: str = ""
    application_tenant_id: str = ""

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        found = [
            f"{at}.tenants[{index}]: must be a tenant GUID"
            for index, tenant in items(self.tenants)
            if not is_guid(tenant)
        ]
        found += [
            f"{at}.scopes[{index}]: must be one resource followed by /.default"
            for index, scope in items(self.scopes)
            if not is_default_scope(scope)
        ]
        if breaks(is_guid, self.client_id):
            found.append(f"{at}.client_id: must be the application (client) ID, a GUID")
        if breaks(lambda region: not region or _REGION.match(region), self.region):
            found.append(f"{at}.region: must be the short name of a region, such as westeurope")
        if {capability for _, capability in items(self.claims_capabilities)} - {"cp1"}:
            found.append(f'{at}.claims_capabilities: only "cp1" exists')
        if breaks(lambda tenant: not tenant or is_guid(tenant), self.application_tenant_id):
            found.append(f"{at}.application_tenant_id: must be a tenant GUID")
        rotates = self.application_object_id and self.application_object_id is not NOTHING
        return found + (self._rotation_mistakes(at) if rotates else [])

    def _rotation_mistakes(self, at: str) -> list[str]:
        found, object_id = [], self.application_object_id
        if not is_guid(object_id) or breaks(lambda client: client.lower() != object_id.lower(), self.client_id):
            what = "must be the object ID of the app registration, a GUID; not its application (client) ID"
            found.append(f"{at}.application_object_id: {what}")
        if self.credentials is not NOTHING and NOTHING not in self.credentials and not self.rotated:
            found.append(f'{at}.application_object_id: the profile has no credential of type "certificate" to register')
        if breaks(lambda tenants, home: len(tenants) < 2 or home, self.tenants, self.application_tenant_id):
            found.append(f"{at}.application_tenant_id: is missing; it names which tenant is home to the registration")
        found += [
            f"{at}.credentials[{index}].send_x5c: must be false with application_object_id, which registers them"
            for index, credential in items(self.credentials)
            if isinstance(credential, CertificateSettings | CertificateFileSettings) and credential.send_x5c is True
        ]
        return found

    @property
    def rotated(self) -> tuple[CertificateSettings, ...]:
        """The credentials whose versions can be registered."""
        return tuple(found for found in self.credentials if isinstance(found, CertificateSettings))

    @property
    def home_tenant(self) -> str:
        """The tenant of the app registration itself."""
        return (self.application_tenant_id or self.tenants[0]).lower()

    @property
    def offer(self) -> Offer:
        """The part of the profile that policy needs; tenants in lower case, as in requests."""
        tenants = tuple(tenant.lower() for tenant in self.tenants)
        client_id = self.client_id.lower()
        return Offer(tenants=tenants, scopes=self.scopes, client_id=client_id, vendable=self.vendable, share=self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`[network]`: the only source of a proxy, and roots beside those that are trusted anyway."""

    proxy: str = field(default="", repr=False)  # it may hold a password
    ca_file: str = ""

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        is_wrong = breaks(lambda proxy: not proxy or is_proxy(proxy), self.proxy)
        return [f"{at}.proxy: must be an http or https URL"] if is_wrong else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """vend.toml as a whole."""

    profiles: Mapping[str, Profile]
    issuers: Mapping[str, IssuerSettings] = field(default_factory=dict)
    cloud: str = "public"
    callers: str = "callers.toml"
    app_checked_routes: bool = False
    allow_custom_cloud: bool = False
    identity_client_id: str = ""
    clouds: Mapping[str, Cloud] = field(default_factory=dict)
    network: Network = Network()
    limits: Limits = field(default_factory=Limits)
    sync: SyncSettings | None = None

    @property
    def home(self) -> Cloud:
        """The cloud that every profile lives in."""
        return self.clouds.get(self.cloud) or CLOUDS[self.cloud]

    @property
    def offers(self) -> Mapping[str, Offer]:
        """The offers that policy may grant, by profile."""
        return {name: profile.offer for name, profile in self.profiles.items()}

    @property
    def tenants_of_issuers(self) -> Mapping[str, str]:
        """The tenant of each issuer that is Entra, and "" for the others, by name."""
        return {name: issuer.trusted.tenant_id for name, issuer in self.issuers.items()}

    @property
    def warnings(self) -> list[str]:
        """What is probably not meant, each by its dotted key: limits that were changed and bound nothing here."""
        credentials = [each for profile in self.profiles.values() for each in profile.credentials]
        idle = {} if self.sync else dict.fromkeys(OF_GRAPH, "there is no [sync]")
        if not any(getattr(each, "vault", "") for each in credentials):  # not every kind has one
            idle["vault_reread_seconds"] = "no credential is in Key Vault"
        changed = [name for name in idle if getattr(self.limits, name) != getattr(Limits(), name)]
        return [f"limits.{name}: nothing uses it, as {idle[name]}" for name in changed]


def is_on_azure(environ: Mapping[str, str]) -> bool:
    """Return whether this is Azure Functions, where each group of functions has a disk that dies with its instance."""
    return any(environ.get(name) for name in ON_AZURE)


def parse_settings(text: bytes, environ: Mapping[str, str], *, name: str) -> Settings:
    """Read the settings.

    Args:
        text: the document.
        environ: the app settings, which replace `${NAME}` and tell whether this is Azure.
        name: of the document, for mistakes that have no place in it.

    Raises:
        DocumentError: with every mistake.
    """
    settings, mistakes = examine_settings(text, environ, name=name)
    if mistakes:
        raise DocumentError(mistakes)
    return settings


def examine_settings(text: bytes, environ: Mapping[str, str], *, name: str) -> tuple[Settings, list[str]]:
    """Read the settings with their mistakes; where there are any, what was wrong is `NOTHING`.

    Raises:
        DocumentError: it is no TOML.
    """
    mistakes: list[str] = []
    settings = read_table(Settings, _expand(parse_toml(text, name=name), environ), at="", mistakes=mistakes)
    return settings, mistakes + _across(settings, on_azure=is_on_azure(environ))


def upstream_mistakes(settings: Settings) -> list[str]:
    """List what an upstream of the cloud will refuse, each by its dotted key; those commands that check tell it.

    The app starts all the same, and answers 502 where it needs that upstream: one profile's mistake is not another's.

    Args:
        settings: what was wrong in them is `NOTHING`.
    """
    found = []
    if breaks(lambda client_id: not client_id or is_guid(client_id), settings.identity_client_id):
        found.append("identity_client_id: must be the client ID of a user-assigned identity, a GUID")
    if (home := _readable_home(settings)) is None:
        return found
    for name, profile in tables(settings.profiles).items():
        for index, credential in items(profile.credentials):
            at = f"{dotted('profiles', name)}.credentials[{index}].vault"
            vault = getattr(credential, "vault", "")  # not every kind has one
            if not vault or breaks(is_bare_https, vault) or vault is NOTHING:
                continue
            if fault := home.vault_fault(vault):
                found.append(f"{at}: {fault}; the app answers 502 to what needs it")
    return found


def _expand(value: Any, environ: Mapping[str, str]) -> Any:  # noqa: ANN401  # whatever TOML holds
    """Replace `${NAME}` inside strings; `$${` is a literal `${`."""
    if isinstance(value, dict):
        return {key: _expand(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, environ) for item in value]
    if not isinstance(value, str):
        return value
    for found in _VARIABLE.finditer(value):
        if found[2] is not None and found[2] not in environ:
            return Unset(found[2])
    return _VARIABLE.sub(lambda found: "${" if found[2] is None else environ[found[2]], value)


def _across(settings: Settings, *, on_azure: bool) -> list[str]:
    """List the mistakes that no table shows alone."""
    found, home = [], _readable_home(settings)
    if breaks(lambda cloud, clouds: cloud in {*CLOUDS, *clouds}, settings.cloud, settings.clouds):
        found.append(f"cloud: must be one of {', '.join(CLOUDS)}, or a name under clouds")
    if settings.sync is not None and settings.sync is not NOTHING:
        found += _sync_mistakes(settings.sync, settings, home, on_azure=on_azure)
    if settings.callers is not NOTHING and is_url(settings.callers):
        found += _callers_mistakes(settings.callers, home)
    if breaks(len, settings.profiles):
        found.append("profiles: there is none")
    found += issuer_mistakes(settings.issuers, home)
    for name, cloud in tables(settings.clouds).items():
        if on_azure and settings.allow_custom_cloud is False:
            found.append(f"{dotted('clouds', name)}: on Azure a custom cloud needs allow_custom_cloud = true")
        found += _cloud_mistakes(dotted("clouds", name), name, cloud, on_azure=on_azure)
    return found


def _readable_home(settings: Settings) -> Cloud | None:
    """Return the cloud of the profiles; None where a mistake leaves open where its services are."""
    if settings.cloud is NOTHING or settings.clouds is NOTHING:
        return None
    cloud = settings.clouds.get(settings.cloud) or CLOUDS.get(settings.cloud)
    return cloud if cloud is not None and is_whole(cloud) else None


def _callers_mistakes(place: str, home: Cloud | None) -> list[str]:
    if not is_blob(place):
        what = "must be a path, or the https URL of a blob: host, container and name, and nothing else"
        return [f"callers: {what} (a signature in a URL is a secret)"]
    if home and (fault := home.blob_fault(place)):
        return [f"callers: {fault}; a token for Azure Storage goes nowhere else"]
    return []


def _sync_mistakes(sync: SyncSettings, settings: Settings, home: Cloud | None, *, on_azure: bool) -> list[str]:
    found = store_mistakes(sync, home, on_azure=on_azure)
    if breaks(lambda name, profiles: name in profiles, sync.profile, settings.profiles):
        return [*found, "sync.profile: there is no such profile"]
    profile = tables(settings.profiles).get(sync.profile)
    if profile is None:
        return found
    if profile.vendable is True:
        found.append("sync.profile: must have vendable = false: what reads the directory is nobody's to have")
    if home and breaks(lambda scopes: {NOTHING, home.graph_scope} & {*scopes}, profile.scopes):
        found.append(f"sync.profile: its scopes lack {home.graph_scope}")
    return found


def _cloud_mistakes(at: str, name: str, cloud: Cloud, *, on_azure: bool) -> list[str]:
    found = [f"{at}: this name is taken"] if name in CLOUDS else []
    found += [
        f"{at}.{key}: must be an https URL without a path"
        for key in ("authority", "graph", "management", "database_audience")
        if breaks(is_bare_https, getattr(cloud, key))
    ]
    found += [
        f"{at}.{key}: must be an https URL without a path, or a domain"
        for key in ("blob", "vault")
        if breaks(lambda place: is_bare_https(place) or _DOMAIN.fullmatch(place), getattr(cloud, key))
    ]
    if breaks(_DOMAIN.fullmatch, cloud.database):
        found.append(f"{at}.database: must be a domain, or the name of a host")
    if on_azure and cloud.verify_vault_challenge is False:
        found.append(f"{at}.verify_vault_challenge: must be true on Azure")
    return found
