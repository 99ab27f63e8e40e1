"""The events of the app as a whole."""

from typing import Annotated

from shared.telemetry.catalogue.fields import Mistakes, Readiness
from shared.telemetry.event import About, Doc, Event, declared


@declared
class SettingsInvalid(Event):
    """`vend.toml` or the app settings have mistakes, and this worker answers 503 to every request."""

    about = About("settings_invalid", remedy="correct each mistake; `./vend check` names them too")

    mistakes: Mistakes


@declared
class ReadinessChanged(Event):
    """The answer of the readiness probe has changed."""

    about = About("readiness_changed", remedy="follow `remedy`; set up an alert for the outcome `not_ready`")

    outcome: Annotated[Readiness, Doc("the new status")]
    cause: Annotated[str, Doc("each check that is not `ok`, with what was seen")] | None = None
    remedy: Annotated[str, Doc("what to do about each")] | None = None
