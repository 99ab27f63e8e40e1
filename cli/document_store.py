"""The callers document where it lies: in a file, or in a blob that is reached by the operator's own login.

It is written whole, and only over the version that was read: of two who write at once, one is told. Where an answer to
a write is lost, the write may have happened, whatever the next answer is, and another operator may have written since.
So the document is read, and the change is looked for in it.
Sources: https://learn.microsoft.com/rest/api/storageservices/put-blob and -/blob-service-error-codes
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import httpx
import typer

from cli.http import Answer, NoAnswer, Question, bearer
from cli.patience import Patience
from cli.repeats import exchange
from cli.screen import stop
from shared.adapters.file import read_file
from shared.core.documents.content import DOCUMENT_BYTES

STORAGE = "https://storage.azure.com"
"""The resource of a token for blobs, in every cloud."""
API_VERSION = "2023-11-03"
WRITER = "Storage Blob Data Contributor"
LONGEST_CODE = 64
NEW_FILE_MODE = 0o644  # it holds hashes, no secrets


class Changed(Exception):
    """Somebody else has written the document since it was read."""


class WriteUnknown(typer.Exit):
    """The command ends with exit code 1, and whether the document was written is not known; the reason is printed."""


@dataclass(frozen=True, slots=True)
class Version:
    """The document as it was read; None where there is none."""

    content: bytes | None
    etag: str = ""


type IsIn = Callable[[bytes | None], bool]
"""Returns whether a document contains a change."""


class Store(Protocol):
    """Where the document lies."""

    def read(self) -> Version:
        """Read it, or end with exit code 1."""

    def write(self, content: bytes, *, over: Version, is_in: IsIn) -> None:
        """Replace it, or end with exit code 1 where it does not contain the change.

        Args:
            content: the new document.
            over: the version that was read.
            is_in: whether a document contains the change.

        Raises:
            Changed: it is no longer the version that was read, and does not contain the change.
            WriteUnknown: it may have been replaced.
        """


def rewrite(store: Store, edit: Callable[[bytes | None], bytes], *, over: Version, is_in: IsIn) -> None:
    """Write what an edit makes of the document; where it has changed meanwhile, read and edit it once more.

    Raises:
        Changed: it has changed again, and does not contain the change.
        WriteUnknown: it may have been written.
    """
    try:
        store.write(edit(over.content), over=over, is_in=is_in)
    except Changed:
        over = store.read()
        if not is_in(over.content):
            store.write(edit(over.content), over=over, is_in=is_in)


class FileStore:
    """A file; links to it stay links.

    Args:
        path: of the file.
        name: of the file, for errors.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path.resolve()
        self._name = name

    def read(self) -> Version:
        """Read it, or end with exit code 1."""
        try:
            content = read_file(self._path, most=DOCUMENT_BYTES)
        except FileNotFoundError:
            return Version(None)
        except OSError as error:
            raise stop(f"{self._name} cannot be read ({type(error).__name__})") from None
        if len(content) > DOCUMENT_BYTES:
            raise stop(f"{self._name} cannot be read: it is larger than {DOCUMENT_BYTES // 1024} KiB")
        return Version(content)

    def write(self, content: bytes, *, over: Version, is_in: IsIn) -> None:  # noqa: ARG002  # no answer can be lost
        """Replace it, or end with exit code 1."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            mode = self._path.stat().st_mode & 0o7777 if self._path.exists() else NEW_FILE_MODE
            with draft.open("xb") as file:
                draft.chmod(mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if self.read().content != over.content:
                raise Changed
            draft.replace(self._path)
        except OSError as error:
            raise stop(f"{self._name} cannot be written ({type(error).__name__})") from None
        finally:
            draft.unlink(missing_ok=True)


class BlobStore:
    """A blob.

    Args:
        url: of the blob, in the storage domain of the cloud: the token goes to its origin alone.
        token: makes a token for a resource.
        ca_file: roots beside those that are trusted anyway.
        patience: how to wait where a failure may pass.
    """

    def __init__(self, url: str, *, token: Callable[[str], str], ca_file: str, patience: Patience) -> None:
        self._url = url
        self._token = cache(token)  # az takes a second for each
        self._ca_file = ca_file
        self._patience = patience

    def read(self) -> Version:
        """Read it, or end with exit code 1."""
        answer = self._ask("GET")[-1]
        if isinstance(answer, NoAnswer):
            raise self._unanswered(answer)
        if answer.status_code == HTTPStatus.OK:
            return Version(answer.content, answer.headers.get("etag", ""))
        if answer.headers.get("x-ms-error-code") == "BlobNotFound":
            return Version(None)
        raise self._refused(answer, role="Storage Blob Data Reader")

    def write(self, content: bytes, *, over: Version, is_in: IsIn) -> None:
        """Replace it, or end with exit code 1 where it does not contain the change."""
        condition = {"if-none-match": "*"} if over.content is None else {"if-match": over.etag}
        headers = {**condition, "x-ms-blob-type": "BlockBlob", "content-type": "application/toml"}
        answers = self._ask("PUT", content, headers)
        last = answers[-1]
        if isinstance(last, httpx.Response) and last.status_code == HTTPStatus.CREATED:
            return
        if any(map(_passing, answers)) and self._has(is_in):
            return
        if isinstance(last, NoAnswer):
            raise self._unanswered(last)
        # A blob that was there already, where none was read, is 409.
        if last.status_code in {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT}:
            raise Changed
        raise self._refused(last, role=WRITER)

    def _has(self, is_in: IsIn) -> bool:
        """Return whether the document contains the change."""
        try:
            return is_in(self.read().content)
        except typer.Exit:
            raise WriteUnknown(1) from None

    def _ask(self, method: str, content: bytes = b"", headers: dict[str, str] | None = None) -> list[Answer]:
        request = httpx.Request(
            method, self._url, content=content, headers={"x-ms-version": API_VERSION} | (headers or {})
        )
        question = Question(request, bearer(self._token(STORAGE), service=self._url))
        [answers] = exchange([question], passing=_passing, patience=self._patience, ca_file=self._ca_file)
        return answers

    def _unanswered(self, failure: NoAnswer) -> typer.Exit:
        return stop(str(failure), "Is `callers` in vend.toml right, and does its network let you in?")

    def _refused(self, answer: httpx.Response, *, role: str) -> typer.Exit:
        hint = "Is `callers` in vend.toml right?"
        if answer.status_code == HTTPStatus.FORBIDDEN:
            hint = f"You need the role {role} on it (it takes up to 10 minutes), and its network must let you in."
        if _passing(answer):
            hint = "Repeat the command later."
        return stop(f"{self._url} answers {_said(answer)}.", hint)


def _passing(answer: Answer) -> str:
    """Return why a failure of Azure Storage may pass; "" where it does not."""
    if isinstance(answer, NoAnswer):
        return str(answer) if answer.may_pass else ""
    if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return f"Azure Storage answers {_said(answer)}."
    return ""


def _said(answer: httpx.Response) -> str:
    """Return the status and the code of an answer."""
    return f"{answer.status_code} {answer.headers.get('x-ms-error-code', '')[:LONGEST_CODE]}".rstrip()
