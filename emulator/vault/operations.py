"""The operations of the local vault: each takes a call that is authorized and returns the response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from emulator.vault import certificates as vault_certificates
from emulator.vault import keys as vault_keys
from emulator.vault.bundles import LATER, Bundles, Document
from emulator.vault.errors import bad_parameter, not_allowed, pending_not_found
from emulator.vault.pages import page
from emulator.vault.policy import Json, Policy, read, section
from emulator.vault.store import Store


@dataclass(frozen=True)
class Call:
    """One authorized request."""

    bundles: Bundles
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Json = field(repr=False)  # an import carries a private key

    @property
    def name(self) -> str:
        """The certificate, key or secret that the address names."""
        return self.path["name"]

    @property
    def version(self) -> str | None:
        """The version that the address names, if it names one."""
        return self.path.get("version")


@dataclass(frozen=True)
class Answer:
    """A response: its status, its document if it has one, and its headers beyond the usual ones."""

    status: int
    document: Document | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


type Operation = Callable[[Call], Answer]


class Operations:
    """The operations on one store; each raises `Refusal` for a request that the store cannot fulfil.

    `signatures` counts what the keys have signed.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self.signatures = 0

    def list_certificates(self, call: Call) -> Answer:
        """List the certificates, each at its latest version."""
        names = sorted(self._store.certificates(), key=lambda each: each.name)
        return Answer(200, _page(call, "certificates", [call.bundles.name_item(each) for each in names]))

    def create(self, call: Call) -> Answer:
        """Create the first or the next version of a certificate; the operation is pending."""
        enabled, tags = _changes(call.body)
        policy = Policy.parse(section(call.body, "policy"))
        self._store.create(call.name, policy, enabled=enabled is not False, tags=tags)
        certificate = self._store.certificate(call.name)
        headers = call.bundles.progress(certificate, api_version=call.query["api-version"])
        return Answer(202, call.bundles.operation(certificate, done=False), headers)

    def import_certificate(self, call: Call) -> Answer:
        """Import a certificate with its private key."""
        enabled, tags = _changes(call.body)
        asked = section(call.body, "policy")
        # What the certificate itself says is taken from it; only the handling of key and secret can be asked for.
        policy = Policy.parse(
            {
                "key_props": {"exportable": section(asked, "key_props").get("exportable")},
                "secret_props": section(asked, "secret_props"),
                "x509_props": {"subject": "CN=imported"},
                "lifetime_actions": asked.get("lifetime_actions"),
                "issuer": {"name": section(asked, "issuer").get("name") or "Unknown"},
            }
        )
        material = vault_certificates.read(
            read(call.body, "value", str, ""),
            password=read(call.body, "pwd", str, "") or None,
            content_type=policy.content_type,
        )
        self._store.import_material(call.name, material, policy, enabled=enabled is not False, tags=tags)
        return Answer(200, call.bundles.latest(self._store.certificate(call.name)))

    def pending(self, call: Call) -> Answer:
        """Return the operation that created the latest version."""
        certificate = self._store.certificate(call.name)
        if certificate.operation is None:
            raise pending_not_found(call.name)
        done = not certificate.latest.pending
        return Answer(200, call.bundles.operation(certificate, done=done), {} if done else LATER)

    def list_versions(self, call: Call) -> Answer:
        """List the versions of a certificate."""
        # As in the real vault the order says nothing about age.
        versions = sorted(self._store.certificate(call.name).versions, key=lambda each: each.id)
        items = [call.bundles.certificate_item(each) for each in versions]
        return Answer(200, _page(call, f"certificates/{call.name}/versions", items))

    def policy(self, call: Call) -> Answer:
        """Return the policy of a certificate."""
        return Answer(200, call.bundles.policy(self._store.certificate(call.name)))

    def update_policy(self, call: Call) -> Answer:
        """Replace the members of a policy that the request names."""
        certificate = self._store.certificate(call.name)
        self._store.update_policy(certificate, certificate.policy.merged(call.body))
        return Answer(200, call.bundles.policy(certificate))

    def certificate(self, call: Call) -> Answer:
        """Return one version of a certificate, or the latest with its policy."""
        if call.version is None:
            return Answer(200, call.bundles.latest(self._store.certificate(call.name)))
        return Answer(200, call.bundles.certificate(self._store.version(call.name, call.version)))

    def update(self, call: Call) -> Answer:
        """Enable, disable or tag a version."""
        enabled, tags = _changes(call.body)
        version = self._store.version(call.name, call.version)
        self._store.update(version, enabled=enabled, tags=tags)
        return Answer(200, call.bundles.certificate(version))

    def delete(self, call: Call) -> Answer:
        """Move a certificate to the recycle bin."""
        return Answer(200, call.bundles.deleted(self._store.delete(call.name)))

    def list_deleted(self, call: Call) -> Answer:
        """List the recycle bin."""
        names = sorted(self._store.deleted_certificates(), key=lambda each: each.name)
        return Answer(200, _page(call, "deletedcertificates", [call.bundles.name_item(each) for each in names]))

    def deleted(self, call: Call) -> Answer:
        """Return a certificate in the recycle bin."""
        return Answer(200, call.bundles.deleted(self._store.deleted(call.name)))

    def purge(self, call: Call) -> Answer:
        """Remove a deleted certificate permanently."""
        self._store.purge(call.name)
        return Answer(204)

    def recover(self, call: Call) -> Answer:
        """Restore a deleted certificate."""
        return Answer(200, call.bundles.latest(self._store.recover(call.name)))

    def key(self, call: Call) -> Answer:
        """Return the public key of a version."""
        return Answer(200, call.bundles.key(self._store.version(call.name, call.version, kind="key")))

    def sign(self, call: Call) -> Answer:
        """Sign a digest with the key of a version."""
        version = self._store.version(call.name, call.version, kind="key")
        signature = vault_keys.sign(
            version,
            algorithm=read(call.body, "alg", str, ""),
            value=read(call.body, "value", str, ""),
            now=self._now(),
        )
        self.signatures += 1
        return Answer(200, {"kid": call.bundles.id("keys", version), "value": signature})

    def secret(self, call: Call) -> Answer:
        """Return a plain secret, or the secret of a certificate."""
        if call.name in self._store.secrets:
            plain = self._store.secrets.find(call.name, call.version)
            _refuse_disabled(enabled=plain.enabled)
            return Answer(200, call.bundles.plain_secret(plain))
        version = self._store.version(call.name, call.version, kind="secret")
        _refuse_disabled(enabled=version.enabled)
        return Answer(200, call.bundles.secret(version))

    def list_secret_versions(self, call: Call) -> Answer:
        """List the versions of a plain secret, or those of the secret of a certificate; they have no values."""
        if call.name in self._store.secrets:
            items = [call.bundles.plain_secret_item(each) for each in self._store.secrets.versions(call.name)]
        else:
            certificate = self._store.certificate(call.name, kind="secret")
            items = [call.bundles.secret_item(each) for each in certificate.versions]
        # As in the real vault the order says nothing about age.
        return Answer(
            200, _page(call, f"secrets/{call.name}/versions", sorted(items, key=lambda each: str(each["id"])))
        )


def _refuse_disabled(*, enabled: bool) -> None:
    # A secret that is expired or not valid yet can still be read, unlike one that is disabled:
    # https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#date-time-controlled-operations
    if not enabled:
        raise not_allowed("get", "disabled", "secret", "SecretDisabled")


def _changes(body: Json) -> tuple[bool | None, Mapping[str, str] | None]:
    """Read what a client may set on a version: whether it is enabled, and its tags."""
    attributes = section(body, "attributes")
    if unknown := {name for name, value in attributes.items() if value is not None} - {"enabled"}:
        # A certificate's dates are what X.509 says.
        raise bad_parameter(f"Attributes are read-only: {', '.join(sorted(unknown))}")
    enabled = read(attributes, "enabled", bool, default=False) if attributes.get("enabled") is not None else None
    if body.get("tags") is None:
        return enabled, None
    tags = section(body, "tags")
    return enabled, {name: read(tags, name, str, "") for name in tags}


def _page(call: Call, path: str, items: list[Document]) -> Document:
    return page(items, address=f"{call.bundles.base}/{path}", query=call.query)
