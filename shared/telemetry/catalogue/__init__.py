"""Every event that vend can log. The schema, the tables of docs/operations.md and the metrics derive from this folder.

To add an event, add a class, list it below, and run `make schemas`:

- The docstring says what the event means.
- `about` has its name, what the operator should do, and what it is counted by.
- A field without a default is in every line of the event. A field that is None is left out of the line.
"""

from shared.telemetry.catalogue.app import (
    ReadinessChanged,
    SettingsInvalid,
)
from shared.telemetry.catalogue.callers import (
    CallerEnds,
    CallersChanged,
    CallersInvalid,
    CallersRefused,
    CallersUnread,
    CallersWarning,
    IssuerKeysChanged,
    IssuerUnread,
)
from shared.telemetry.catalogue.credentials import (
    CredentialAccepted,
    CredentialRegistered,
    CredentialRests,
    CredentialUnread,
    RegistrationFailed,
    RegistrationImpossible,
)
from shared.telemetry.catalogue.directory import (
    DirectoryCredentialEnds,
    SyncBinUnread,
    SyncDisabled,
    SyncFailed,
    SyncFinished,
    SyncHeld,
    SyncMended,
    SyncRequested,
    SyncRestarted,
    SyncSkipped,
)
from shared.telemetry.catalogue.tokens import (
    AcquireFailed,
    AudienceChanged,
    ClockDiffers,
    IdentityFailed,
    RegionRefused,
    RequestsUnlogged,
    ScopeDiffers,
    SecurityTlsRefused,
    SecurityTokenMismatch,
    TokenAnswered,
    TokenWithoutRoles,
)
from shared.telemetry.event import Event

EVENTS: tuple[type[Event], ...] = (
    TokenAnswered,
    RequestsUnlogged,
    AcquireFailed,
    SecurityTokenMismatch,
    SecurityTlsRefused,
    IdentityFailed,
    RegionRefused,
    ClockDiffers,
    TokenWithoutRoles,
    ScopeDiffers,
    AudienceChanged,
    CredentialAccepted,
    CredentialRests,
    CredentialUnread,
    CredentialRegistered,
    RegistrationFailed,
    RegistrationImpossible,
    CallersChanged,
    CallersRefused,
    CallersWarning,
    CallerEnds,
    CallersInvalid,
    CallersUnread,
    IssuerKeysChanged,
    IssuerUnread,
    SettingsInvalid,
    ReadinessChanged,
    SyncRequested,
    SyncFinished,
    SyncRestarted,
    SyncMended,
    SyncHeld,
    SyncBinUnread,
    SyncFailed,
    SyncSkipped,
    DirectoryCredentialEnds,
    SyncDisabled,
)
"""Every event, in the order of the documentation."""
