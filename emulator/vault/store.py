"""The content of the local vault: certificates by name, their versions, and the ones that were deleted."""

import datetime as dt
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from emulator.vault import renewal
from emulator.vault.certificates import Material, describe, make
from emulator.vault.errors import bad_parameter, deleted_not_found, name_in_recycle_bin, name_of_secret, not_found
from emulator.vault.policy import Policy
from emulator.vault.secrets import Secrets

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
RETENTION = dt.timedelta(days=90)


@dataclass
class Version:
    """One certificate with its key and secret, which share its id and attributes.

    Until its issuer is done it is pending: `switched_on` says what it is to be, and it is disabled.
    """

    name: str
    id: str
    material: Material
    policy: Policy = field(repr=False)
    created: int
    updated: int
    switched_on: bool
    tags: dict[str, str]
    issued: float
    pending: bool

    @property
    def enabled(self) -> bool:
        """Whether certificate, key and secret can be used."""
        return self.switched_on and not self.pending

    @property
    def not_before(self) -> int:
        """Seconds since 1970 from which the certificate and its key are valid."""
        return int(self.material.certificate.not_valid_before_utc.timestamp())

    @property
    def expires(self) -> int:
        """Seconds since 1970 from which the certificate and its key are valid no more."""
        return int(self.material.certificate.not_valid_after_utc.timestamp())


@dataclass
class Certificate:
    """A name with its policy and its versions, the oldest first.

    The policy renews it from the moment `watched`, also where an earlier moment was due.
    """

    name: str
    policy: Policy
    policy_created: int
    policy_updated: int
    watched: float
    versions: list[Version] = field(default_factory=list)
    operation: str | None = None
    deleted: int | None = None

    @property
    def latest(self) -> Version:
        """The version that was made last, enabled or not: the one an address without a version means."""
        return self.versions[-1]

    @property
    def purges(self) -> int | None:
        """Seconds since 1970 at which Azure would purge it, once it is deleted."""
        return None if self.deleted is None else self.deleted + int(RETENTION.total_seconds())


class Store:
    """State in memory; the server's threads and a test's own may change it together.

    Whoever looks finds what the vault has done by itself until now: certificates issued, and renewed by their policy.
    Names and versions are found in any case.

    Attributes:
        pending_seconds: how long the issuer of a new certificate needs; a test may set it at any time.
        secrets: the plain ones.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self.pending_seconds = 0.0
        self.secrets = Secrets(now)
        self._live: dict[str, Certificate] = {}
        self._deleted: dict[str, Certificate] = {}

    def create(
        self, name: str, policy: Policy, *, enabled: bool = True, tags: Mapping[str, str] | None = None
    ) -> Version:
        """Make a self-signed certificate: the name's first version or its next.

        Raises:
            Refusal: 400, the name or policy is wrong; 409, the name waits in the recycle bin.
        """
        if policy.issuer != "Self":
            raise bad_parameter(f"Property issuer has invalid value: this vault issues for Self, not {policy.issuer}")
        self._claim(name)
        self._catch_up()
        return self._make(name, policy, at=self._now(), enabled=enabled, tags=tags)

    def import_material(
        self, name: str, material: Material, policy: Policy, *, enabled: bool, tags: Mapping[str, str] | None
    ) -> Version:
        """Take a certificate that was made elsewhere: the name's first version or its next.

        Raises:
            Refusal: 400, the name is wrong or the certificate has expired; 409, the name waits in the recycle bin.
        """
        self._claim(name)
        if material.certificate.not_valid_after_utc.timestamp() <= self._now():
            raise bad_parameter("The specified X.509 certificate has expired")
        self._catch_up()
        described = describe(material.certificate, policy)
        return self._publish(name, material, described, at=self._now(), enabled=enabled, tags=tags, operation=None)

    def certificate(self, name: str, *, kind: str = "certificate") -> Certificate:
        """Find a certificate that is not deleted; `kind` is what the caller thinks it asks for.

        Raises:
            Refusal: 404.
        """
        self._catch_up()
        try:
            return self._live[name.lower()]
        except KeyError:
            raise not_found(kind, name) from None

    def version(self, name: str, version: str | None, *, kind: str = "certificate") -> Version:
        """Find one version, or the latest when none is named.

        Raises:
            Refusal: 404.
        """
        certificate = self.certificate(name, kind=kind)
        if not version:
            return certificate.latest
        for candidate in certificate.versions:
            if candidate.id == version.lower():
                return candidate
        raise not_found(kind, f"{name}/{version}")

    def certificates(self) -> Iterable[Certificate]:
        """List what is not deleted."""
        self._catch_up()
        return tuple(self._live.values())

    def deleted_certificates(self) -> Iterable[Certificate]:
        """List the recycle bin."""
        return tuple(self._deleted.values())

    def update(self, version: Version, *, enabled: bool | None, tags: Mapping[str, str] | None) -> None:
        """Change what is named; the key and the secret follow."""
        if enabled is not None:
            version.switched_on = enabled
        if tags is not None:
            version.tags = dict(tags)
        version.updated = int(self._now())

    def update_policy(self, certificate: Certificate, policy: Policy) -> None:
        """Change how the next version is made; those that exist stay as they are."""
        certificate.policy = policy
        certificate.watched = self._now()
        certificate.policy_updated = int(certificate.watched)

    def delete(self, name: str) -> Certificate:
        """Move all versions to the recycle bin.

        Raises:
            Refusal: 404.
        """
        with self._lock:
            certificate = self.certificate(name)
            certificate.deleted = int(self._now())
            self._deleted[name.lower()] = self._live.pop(name.lower())
        return certificate

    def deleted(self, name: str) -> Certificate:
        """Find a certificate in the recycle bin.

        Raises:
            Refusal: 404.
        """
        try:
            return self._deleted[name.lower()]
        except KeyError:
            raise deleted_not_found(name) from None

    def recover(self, name: str) -> Certificate:
        """Take a certificate out of the recycle bin, as it was.

        Raises:
            Refusal: 404.
        """
        with self._lock:
            certificate = self.deleted(name)
            certificate.deleted = None
            certificate.watched = self._now()
            self._live[name.lower()] = self._deleted.pop(name.lower())
        return certificate

    def purge(self, name: str) -> None:
        """Forget a deleted certificate for good.

        Raises:
            Refusal: 404.
        """
        with self._lock:
            self.deleted(name)
            del self._deleted[name.lower()]

    def _claim(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise bad_parameter(f"The request URI contains an invalid name: {name}")
        if name.lower() in self._deleted:
            raise name_in_recycle_bin(name)
        if name in self.secrets:
            raise name_of_secret(name)

    def _catch_up(self) -> None:
        now = self._now()
        with self._lock:
            for certificate in tuple(self._live.values()):
                while (due := self._due(certificate)) is not None and due <= now:
                    self._make(certificate.name, certificate.policy, at=due)
                for version in certificate.versions:
                    version.pending = version.pending and now < version.issued

    def _due(self, certificate: Certificate) -> float | None:
        latest = certificate.latest
        due = renewal.due(certificate.policy, starts=latest.not_before, ends=latest.expires)
        return None if due is None else max(due, certificate.watched)

    def _make(
        self,
        name: str,
        policy: Policy,
        *,
        at: float,
        enabled: bool = True,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Make a self-signed certificate at a moment, which may have passed."""
        known = self._live.get(name.lower())
        key = known.latest.material.key if known and policy.reuse_key else None
        material = make(policy, now=dt.datetime.fromtimestamp(at, dt.UTC), key=key)
        operation = uuid.uuid4().hex
        return self._publish(name, material, policy, at=at, enabled=enabled, tags=tags, operation=operation)

    def _publish(
        self,
        name: str,
        material: Material,
        policy: Policy,
        *,
        at: float,
        enabled: bool,
        tags: Mapping[str, str] | None,
        operation: str | None,
    ) -> Version:
        with self._lock:
            # The name may have been deleted while the key was made.
            self._claim(name)
            certificate = self._live.setdefault(name.lower(), Certificate(name, policy, int(at), int(at), at))
            issued = at + self.pending_seconds if operation else at
            version = Version(
                name=certificate.name,
                id=uuid.uuid4().hex,
                material=material,
                policy=policy,
                created=int(at),
                updated=int(at),
                switched_on=enabled,
                tags=dict(tags or {}),
                issued=issued,
                pending=self._now() < issued,
            )
            certificate.versions.append(version)
            certificate.operation = operation
            certificate.policy = policy
            certificate.policy_updated, certificate.watched = int(at), at
        return version
