"""A certificate policy: what Key Vault makes a certificate from, read from and written as its JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from emulator.vault.errors import bad_parameter

PFX = "application/x-pkcs12"
PEM = "application/x-pem-file"
KEY_SIZES = (2048, 3072, 4096)  # of RSA
CURVES: Mapping[str, int] = {"P-256": 256, "P-384": 384, "P-521": 521, "P-256K": 256}  # with the sizes of their keys

SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2"

# What a key may do follows from what its certificate is for:
# https://learn.microsoft.com/azure/key-vault/certificates/about-certificates#exportable-or-non-exportable-key
OPERATIONS_OF_USAGE: Mapping[str, tuple[str, ...]] = {
    "digitalSignature": ("sign", "verify"),
    "nonRepudiation": ("sign", "verify"),
    "keyEncipherment": ("wrapKey", "unwrapKey"),
    "dataEncipherment": ("encrypt", "decrypt"),
    "keyAgreement": (),
    "keyCertSign": ("sign", "verify"),
    "cRLSign": ("sign", "verify"),
    "encipherOnly": ("encrypt",),
    "decipherOnly": ("decrypt",),
}

type Json = Mapping[str, object]

AUTO_RENEW: Json = {"action_type": "AutoRenew"}
ACTIONS = ("AutoRenew", "EmailContacts")
RENEW_AT_80_PERCENT: Json = {"trigger": {"lifetime_percentage": 80}, "action": AUTO_RENEW}
DAYS_OF_A_MONTH = 27  # by which Key Vault bounds `days_before_expiry`


@dataclass(frozen=True)
class Policy:
    """How to make a certificate's next version; the defaults are Key Vault's.

    With a `curve` the key is elliptic, else it is RSA.
    """

    subject: str
    exportable: bool = True
    key_size: int = 2048
    curve: str | None = None
    reuse_key: bool = False
    content_type: str = PFX
    dns_names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ekus: tuple[str, ...] = (SERVER_AUTHENTICATION, CLIENT_AUTHENTICATION)
    key_usage: tuple[str, ...] = ("digitalSignature", "keyEncipherment")
    validity_months: int = 12
    lifetime_actions: tuple[Json, ...] = (RENEW_AT_80_PERCENT,)
    issuer: str = "Self"

    @classmethod
    def parse(cls, body: Json) -> Self:
        """Read a policy document; what it leaves out takes its default.

        Raises:
            Refusal: 400, the document is malformed or asks for what a standard vault does not make.
        """
        key, secret, x509 = (section(body, name) for name in ("key_props", "secret_props", "x509_props"))
        sans = section(x509, "sans")
        curve = _curve(key)
        usage = ("digitalSignature",) if curve else cls.key_usage
        months = read(x509, "validity_months", int, 12)
        policy = cls(
            subject=read(x509, "subject", str, ""),
            exportable=read(key, "exportable", bool, default=True),
            key_size=CURVES[curve] if curve else read(key, "key_size", int, 2048),
            curve=curve,
            reuse_key=read(key, "reuse_key", bool, default=False),
            content_type=read(secret, "contentType", str, PFX),
            dns_names=texts(sans, "dns_names", ()),
            emails=texts(sans, "emails", ()),
            ekus=texts(x509, "ekus", cls.ekus),
            key_usage=texts(x509, "key_usage", usage),
            validity_months=months,
            lifetime_actions=_lifetime_actions(body, most_days=months * DAYS_OF_A_MONTH),
            issuer=read(section(body, "issuer"), "name", str, "Self"),
        )
        if unknown := sans.keys() - {"dns_names", "emails"}:
            raise bad_parameter(f"Property sans has unsupported members: {', '.join(sorted(unknown))}")
        policy._check()
        return policy

    def merged(self, patch: Json) -> Self:
        """Replace the members that the patch names and keep the others.

        Raises:
            Refusal: 400, the result is no policy.
        """
        mine = self.to_json()
        merged = {
            name: {**section(mine, name), **value} if isinstance(value, Mapping) else value
            for name, value in patch.items()
            if value is not None
        }
        return self.parse({**mine, **merged})

    def to_json(self) -> dict[str, object]:
        """Write the members of a policy document, without its id and dates."""
        sans = {name: list(values) for name in ("dns_names", "emails") if (values := getattr(self, name))}
        return {
            "key_props": {
                "exportable": self.exportable,
                "kty": "EC" if self.curve else "RSA",
                "key_size": self.key_size,
                "reuse_key": self.reuse_key,
            }
            | ({"crv": self.curve} if self.curve else {}),
            "secret_props": {"contentType": self.content_type},
            "x509_props": {
                "subject": self.subject,
                "sans": sans,
                "ekus": list(self.ekus),
                "key_usage": list(self.key_usage),
                "validity_months": self.validity_months,
                "basic_constraints": {"ca": False},
            },
            "lifetime_actions": list(self.lifetime_actions),
            "issuer": {"name": self.issuer},
        }

    def operations(self) -> tuple[str, ...]:
        """List what the key may be used for, in the words of `key_ops`."""
        allowed = {operation for usage in self.key_usage for operation in OPERATIONS_OF_USAGE[usage]}
        return tuple(sorted(allowed))

    def _check(self) -> None:
        if not (self.subject or self.dns_names or self.emails):
            raise bad_parameter("Property subject or a subject alternative name is required")
        if self.curve is None:
            check_key_size(self.key_size)
        if self.content_type not in {PFX, PEM}:
            raise bad_parameter(f"Property contentType has invalid value: {self.content_type}")
        if unknown := set(self.key_usage) - OPERATIONS_OF_USAGE.keys():
            raise bad_parameter(f"Property key_usage has invalid value: {', '.join(sorted(unknown))}")
        if self.curve and (unsupported := set(self.operations()) - {"sign", "verify"}):
            named = ", ".join(f'"{operation}"' for operation in sorted(unsupported))
            raise bad_parameter(f'Unsupported key operation(s): {named}. Supported values are "sign", "verify".')
        if self.validity_months < 1:
            raise bad_parameter(f"Property validity_months has invalid value: {self.validity_months}")


def section(body: Json, name: str) -> Json:
    """Take one object out of a JSON object; absent or null is empty.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise bad_parameter(f"Property {name} has invalid value")
    return value


def read[T](body: Json, name: str, kind: type[T], default: T) -> T:
    """Take one value of the given type out of a JSON object; absent or null is the default.

    Raises:
        Refusal: 400, it has another type.
    """
    value = body.get(name)
    if value is None:
        return default
    # For Python a bool is an int; for JSON it is not.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise bad_parameter(f"Property {name} has invalid value")
    return value


def texts(body: Json, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Take a list of strings out of a JSON object; absent or null is the default.

    Raises:
        Refusal: 400, it is something else.
    """
    values = body.get(name)
    if values is None:
        return default
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise bad_parameter(f"Property {name} has invalid value")
    return tuple(values)


def _lifetime_actions(body: Json, *, most_days: int) -> tuple[Json, ...]:
    actions = body.get("lifetime_actions")
    if actions is None:
        return (RENEW_AT_80_PERCENT,)
    if not isinstance(actions, list) or not all(isinstance(action, Mapping) for action in actions):
        raise bad_parameter("Property lifetime_actions has invalid value")
    return tuple(_lifetime_action(action, most_days=most_days) for action in actions)


def _lifetime_action(action: Json, *, most_days: int) -> Json:
    """Return an action with its one trigger, without members that are null."""
    trigger = {name: value for name, value in section(action, "trigger").items() if value is not None}
    kind = read(section(action, "action"), "action_type", str, "")
    match list(trigger.items()):
        case [("lifetime_percentage", int(percentage))] if 1 <= percentage <= 99:
            pass
        case [("days_before_expiry", int(days))] if 1 <= days <= most_days:
            pass
        case _:
            raise bad_parameter("Property lifetime_actions has a trigger with invalid value")
    if kind not in ACTIONS:
        raise bad_parameter(f"Property action_type has invalid value: {kind}")
    return {"trigger": trigger, "action": {"action_type": kind}}


def check_key_size(size: int) -> None:
    """Raise for an RSA key that Key Vault does not take.

    Raises:
        Refusal: 400.
    """
    if size not in KEY_SIZES:
        message = f"Unsupported key size ({size}). Supported sizes are {list(KEY_SIZES)}"
        raise bad_parameter(message, detail="KeySizeNotSupported")


def _curve(key: Json) -> str | None:
    match read(key, "kty", str, "RSA"):
        case "RSA":
            return None
        case "EC":
            curve = read(key, "crv", str, "P-256")
            if curve in CURVES:
                return curve
            raise bad_parameter(f"Property crv has invalid value: {curve}")
        case kty:  # an HSM needs a premium vault
            raise bad_parameter(f"Property kty has invalid value: this vault makes RSA and EC keys, not {kty}")
