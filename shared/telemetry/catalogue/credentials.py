"""The events of the credentials by which vend proves itself to Entra."""

from typing import Annotated

from shared.telemetry.catalogue.fields import Cause, Profile
from shared.telemetry.event import About, Doc, Event, declared

Credential = Annotated[
    str, Doc("the id of a certificate version, a secret version or a file, or the kind of credential")
]


@declared
class CredentialAccepted(Event):
    """Entra has accepted another credential than this worker used last; the worker uses it from now on."""

    about = About("credential_accepted")

    profile: Profile
    credential: Credential


@declared
class CredentialRests(Event):
    """Entra refused a credential, or a defect of vend kept it from use; this worker tries others first for a while."""

    about = About(
        "credential_rests",
        remedy="follow `remedy`; a new version of a certificate must be registered before the old one ends",
    )

    profile: Profile
    credential: Credential
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    trace_id: Annotated[str, Doc("the id by which Microsoft's support finds Entra's answer")] | None = None
    seconds: Annotated[int, Doc("seconds until it is tried as early as before", {"minimum": 0})]


@declared
class CredentialUnread(Event):
    """A credential of the profile could not be read; what was read before, or another credential, stays in use."""

    about = About("credential_unread", remedy="follow `remedy`; until then this worker finds no newer version")

    profile: Profile
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the failure tells")] | None = None


@declared
class CredentialRegistered(Event):
    """A new version of a certificate was registered with the app registration of the profile."""

    about = About("credential_registered")

    profile: Profile
    credential: Credential


@declared
class RegistrationFailed(Event):
    """A version of a certificate could not be registered, or vend could not find out whether it is registered."""

    about = About(
        "registration_failed",
        remedy="follow `remedy`; if the last registered version ends before the next try, register the new one by hand",
    )

    profile: Profile
    credential: Credential | None = None
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the refusal tells")] | None = None
    seconds: Annotated[int, Doc("seconds to the next try to register it, if there is one", {"minimum": 0})] | None = (
        None
    )


@declared
class RegistrationImpossible(Event):
    """Entra accepts no version of the profile's certificates, so none can sign the proof that registers a new one."""

    about = About(
        "registration_impossible",
        remedy="register the newest version by hand: `az ad app credential reset --append`, as in "
        "[credentials.md](credentials.md#rollover); from then on the rotation registers new versions again",
    )

    profile: Profile
    credential: Credential
    cause: Cause
