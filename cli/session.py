"""One command that changes the callers document: it writes the change, and says that it is in force only if it is."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import typer

from cli.callers_text import CannotEdit, generation_of, with_generation
from cli.document_store import Changed, WriteUnknown, rewrite
from cli.documents import Documents, read_documents
from cli.host_keys import HostKeys, check_cloud, host_keys, is_of_make_run
from cli.http import Secret, check_address, function_key
from cli.in_force import Lying, NotInForce, await_in_force, survey
from cli.keys import key_of
from cli.names import good_names
from cli.patience import Patience, patience_of
from cli.readiness import Report, Unclear, read_mistakes
from cli.screen import GOOD, complain, counted, say, stop
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.documents.toml import DocumentError

NOTHING_YET = b"generation = 1\n"
PUT_BACK = (
    "Put it back, for example its last version. "
    "If it is lost for good: ./vend apply FILE --yes, with every caller; each gets a new key."
)
"""What to do if the callers document is gone."""
SETTLED_SECONDS = 32.0
"""A worker reads the document at the latest 30 s after the last time, and waits 2 s for it."""

Name = Annotated[str, typer.Argument(metavar="NAME", callback=good_names, help="The caller.")]
Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", callback=good_names, help="The callers; one document and one wait for all."),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="ADMIN", help="A caller with `admin = true`: its key asks the app, also for its mistakes."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the callers document.

    Args:
        edit: makes it in the text; raises `CannotEdit`.
        is_in: whether a document contains it.
        grants: whether a caller may have more by it. Only then a refused entry matters, and an unreachable host too.
    """

    edit: Callable[[str], str]
    is_in: Callable[[CallersDocument], bool]
    grants: bool


class Session:
    """The documents, the app and its host, for one command.

    Args:
        documents: both, as they were read.
        app: the address of the app.
        resource_id: of the function app; None for the host of a `make run`.
        admin: the key of an admin caller; None where none was named.
        patience: how to wait.
    """

    def __init__(
        self, documents: Documents, *, app: str, resource_id: str | None, admin: Secret | None, patience: Patience
    ) -> None:
        self.documents = documents
        self.app = app
        self.patience = patience
        self._resource_id = resource_id
        self._admin = admin
        self._before: list[Report] = []
        self._unreachable: typer.Exit | None = None

    @cached_property
    def keys(self) -> HostKeys:
        """The keys of the host; the command ends with exit code 1 if there is none."""
        if self._unreachable:
            raise self._unreachable
        return host_keys(self.documents, app=self.app, resource_id=self._resource_id, patience=self.patience)

    @property
    def generation(self) -> int:
        """The highest generation that a worker has in force; 0 where it is not known."""
        return max((report.generation or 0 for report in self._before), default=0)

    def check(self, change: Change, *, anew: bool = False) -> CallersDocument:
        """End with exit code 1 where the change is a mistake, before anything is made; ask the app where it stands.

        Args:
            change: what is to be made.
            anew: whether it may take the place of a document that is gone, by which a worker still goes.

        Returns:
            The document as it is to be written.
        """
        edited = self._edited(self.documents.version.content, change=change, so="Nothing was written.")
        try:
            secret = self._opening_key(patient=change.grants)
        except typer.Exit as ended:
            if change.grants:
                raise
            # A revocation goes into the document all the same. The reason is printed already.
            self._unreachable = ended
        else:
            with suppress(Unclear):
                self._before = survey(self.app, secret)
        if self.documents.version.content is None and not anew and any(report.in_force for report in self._before):
            raise stop(
                f"{self.documents.callers_file} is not there, but the app still serves the callers that it had. "
                "Another document would cut them off: nothing was written.",
                PUT_BACK,
            )
        return self._parsed(edited)

    def write(self, change: Change) -> bool:
        """Write the changed document, or end with exit code 1.

        Returns:
            Whether there was anything to write.

        Raises:
            WriteUnknown: it may be written; after any other end the document does not contain the change.
        """
        over, file = self.documents.version, self.documents.callers_file
        edit = partial(self._edited, change=change, so=f"{file} does not have this change.")
        if over.content is not None and edit(over.content) == over.content:
            return False
        try:
            rewrite(self.documents.store, edit, over=over, is_in=partial(self._is_in, change))
        except (WriteUnknown, DocumentError):
            complain(
                f"Whether {file} is written is not known.",
                "./vend callers list shows what it has; then repeat the command where that is needed.",
            )
            raise WriteUnknown(1) from None
        except Changed:
            raise stop(
                f"Somebody else is changing {file} too: it does not have this change.",
                "Repeat the command.",
            ) from None
        return True

    def confirm(self, change: Change, *, tell: Callable[..., None] = say) -> None:
        """Wait until the change is in force on every worker seen, and print that; else end with exit code 1."""
        is_local = is_of_make_run(self.documents, app=self.app, resource_id=self._resource_id)
        limits = self.documents.settings.limits
        latest = limits.callers_must_check_seconds + limits.callers_deadline_seconds
        try:
            secret = self._opening_key(patient=True)
        except typer.Exit:
            raise self._failed("There is no key to ask the app with.") from None
        try:
            reports = await_in_force(
                self.app,
                secret,
                lambda: self._lying(change),
                # A `make run` has one worker, which has just answered.
                settled=0.0 if is_local else max(latest, SETTLED_SECONDS),
                patience=self.patience,
            )
        except NotInForce as failure:
            raise self._failed(str(failure)) from None
        refused = max(report.refused for report in reports)
        if change.grants and refused > max((report.refused for report in self._before), default=0):
            raise self._failed(f"The app refuses {counted(refused, 'entry')} of the document, whole or in part.")
        workers = counted(len({report.worker for report in reports}), "worker")
        others = (
            "a `make run` has no other."
            if is_local
            else f"any other within {limits.callers_must_check_seconds:g} s "
            "unless it cannot read the document (event callers_unread)."
        )
        tell(f"In force on {workers} seen; {others}", style=GOOD)

    def keys_now(self) -> tuple[Mapping[str, str], CallersDocument]:
        """Return the SHA-256 of each key of the host by its name, and the document, as both are now.

        The host is asked first: a key that had a caller then has one in this document.
        """
        held = self.keys.digests()
        now = read_documents(self.documents.config, absent=NOTHING_YET, to_mend=True, patience=self.patience)
        return held, now.callers

    def _opening_key(self, *, patient: bool) -> Secret:
        return self._admin or function_key(self.keys.opening_key(patient=patient), app=self.app)

    def _failed(self, reason: str) -> typer.Exit:
        """Print why the change does not count yet, with the app's own mistakes where an admin asks."""
        say(f"{self.documents.callers_file} is written. Whether every worker goes by it is not known.", error=True)
        if self._admin is None:
            return stop(reason, "To see what the app reports: --as ADMIN, a caller with admin = true, or its log.")
        try:
            mistakes = read_mistakes(self.app, self._admin)
        except Unclear as failure:
            return stop(reason, f"The app does not report its mistakes: {failure}.")
        ended = stop(reason, "The app reports:" if mistakes else "The app reports no mistake.")
        for mistake in mistakes:
            say(f"  {mistake}", error=True)
        return ended

    def _lying(self, change: Change) -> Lying:
        content = self.documents.store.read().content
        try:
            return Lying(content=content, has_change=self._is_in(change, content))
        except DocumentError:
            return Lying(content=content, has_change=False)

    def _is_in(self, change: Change, content: bytes | None) -> bool:
        """Return whether a document contains a change; raise a `DocumentError` where it is none."""
        return change.is_in(parse_callers(content or b"", None, name=self.documents.callers_file))

    def _edited(self, content: bytes | None, *, change: Change, so: str) -> bytes:
        """Edit the document and hold it against the app's own rules, or end with exit code 1.

        A mistake that was there before is no reason to refuse: a caller must go while another's entry is spoiled.

        Args:
            content: of the document.
            change: what is to be made in it.
            so: what follows where it cannot be made, as a sentence.
        """
        before = NOTHING_YET if content is None else content
        try:
            known = self._parsed(before).mistakes
            text = change.edit(before.decode("utf-8-sig"))
            if generation_of(text) < self.generation:
                # A worker refuses a document with a lower one than it has had.
                text = with_generation(text, self.generation)
            edited = text.encode()
            mistakes = [mistake for mistake in self._parsed(edited).mistakes if mistake not in known]
        except CannotEdit as error:
            raise stop(f"{self.documents.callers_file} {error}.", so) from None
        except DocumentError as error:
            mistakes = error.mistakes
        else:
            if not mistakes:
                return edited
        for mistake in mistakes:
            say(mistake, error=True)
        raise stop(so)

    def _parsed(self, content: bytes) -> CallersDocument:
        settings, name = self.documents.settings, self.documents.callers_file
        return parse_callers(content, settings.offers, name=name, issuers=settings.tenants_of_issuers)


def open_session(
    context: typer.Context,
    *,
    app: str,
    resource_id: str | None,
    config: Path | None,
    admin: str | None,
    absent: bytes | None = None,
) -> Session:
    """Read the documents and find the app, or end with exit code 1.

    Args:
        context: of the command.
        app: the address of the app.
        resource_id: of the function app; None for the host of a `make run`.
        config: a vend.toml; None for the one that is meant.
        admin: the name of an admin caller; None where none was named.
        absent: what stands for a callers document that is not there; None where that is a mistake.
    """
    address = check_address(app, at="--app")
    patience = patience_of(context)
    documents = read_documents(config, absent=absent, to_mend=True, patience=patience)
    if documents.callers.mistakes:
        say(f"{documents.callers_file} has mistakes already; ./vend check names them.", error=True)
    check_cloud(documents, app=address)
    secret = function_key(key_of(admin, app=address), app=address) if admin else None
    return Session(documents, app=address, resource_id=resource_id, admin=secret, patience=patience)
