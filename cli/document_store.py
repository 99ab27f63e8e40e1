"""The callers document where it lies: in a file, or in a blob that is reached by the operator's own login.

It is written whole, and only over the version that was read: of two who write at once, one is told.
Source of the blob's rules: https://learn.microsoft.com/rest/api/storageservices/put-blob
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import httpx

from cli.http import ask, bearer
from cli.screen import stop

STORAGE = "https://storage.azure.com"
"""What a token for blobs is made for, in every cloud."""
API_VERSION = "2023-11-03"
NEW_FILE_MODE = 0o644  # it holds hashes, no secrets


class Changed(Exception):
    """Somebody else has written the document since it was read."""


@dataclass(frozen=True, slots=True)
class Version:
    """The document as it was read; None where there is none."""

    content: bytes | None
    etag: str = ""


class Store(Protocol):
    """Where the document lies."""

    def read(self) -> Version:
        """Read it, or end with exit code 1."""

    def write(self, content: bytes, *, over: Version) -> None:
        """Replace it, or end with exit code 1; raise `Changed` where it is no longer the version that was read."""


def rewrite(store: Store, edit: Callable[[bytes | None], bytes], *, over: Version) -> None:
    """Write what an edit makes of the document; where it has changed meanwhile, read and edit it once more.

    Raises:
        Changed: it has changed again.
    """
    try:
        store.write(edit(over.content), over=over)
    except Changed:
        over = store.read()
        store.write(edit(over.content), over=over)


class FileStore:
    """A file; links to it stay links."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def read(self) -> Version:
        """Read it, or end with exit code 1."""
        try:
            return Version(self._path.read_bytes())
        except FileNotFoundError:
            return Version(None)
        except OSError as error:
            raise stop(f"{self._path} cannot be read ({type(error).__name__})") from None

    def write(self, content: bytes, *, over: Version) -> None:
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
            raise stop(f"{self._path} cannot be written ({type(error).__name__})") from None
        finally:
            draft.unlink(missing_ok=True)


class BlobStore:
    """A blob.

    Args:
        url: of the blob, in the storage domain of the cloud: the token goes to its origin alone.
        token: makes a token for a resource.
        ca_file: roots beside those that are trusted anyway.
    """

    def __init__(self, url: str, *, token: Callable[[str], str], ca_file: str) -> None:
        self._url = url
        self._token = cache(token)  # az takes a second for each
        self._ca_file = ca_file

    def read(self) -> Version:
        """Read it, or end with exit code 1."""
        answer = self._ask("GET")
        if answer.status_code == HTTPStatus.OK:
            return Version(answer.content, answer.headers.get("etag", ""))
        if answer.headers.get("x-ms-error-code") == "BlobNotFound":
            return Version(None)
        raise self._refused(answer, role="Storage Blob Data Reader")

    def write(self, content: bytes, *, over: Version) -> None:
        """Replace it, or end with exit code 1."""
        condition = {"if-none-match": "*"} if over.content is None else {"if-match": over.etag}
        headers = {**condition, "x-ms-blob-type": "BlockBlob", "content-type": "application/toml"}
        answer = self._ask("PUT", content, headers)
        # A blob that was there already, where none was read, is 409.
        if answer.status_code in {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT}:
            raise Changed
        if answer.status_code != HTTPStatus.CREATED:
            raise self._refused(answer, role="Storage Blob Data Contributor")

    def _ask(self, method: str, content: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
        request = httpx.Request(
            method, self._url, content=content, headers={"x-ms-version": API_VERSION} | (headers or {})
        )
        return ask(
            request,
            hint="Is `callers` in vend.toml right, and does its network let you in?",
            secret=bearer(self._token(STORAGE), service=self._url),
            ca_file=self._ca_file,
        )

    def _refused(self, answer: httpx.Response, *, role: str) -> BaseException:
        hint = "Is `callers` in vend.toml right?"
        if answer.status_code == HTTPStatus.FORBIDDEN:
            hint = f"You need the role {role} on it (it takes up to 10 minutes), and its network must let you in."
        return stop(f"{self._url} answers {answer.status_code}.", hint)
