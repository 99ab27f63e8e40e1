"""docs/directory.md: a job reads the blob as the page says, with the stock client."""

import gc
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobClient

from emulator.cloud import LocalCloud
from emulator.seed import DIRECTORY_CONTAINER, IDENTITY_CLIENT_ID
from emulator.tour.site import ROOT
from shared.adapters.database.sqlite import fold
from shared.core.directory.streams import USERS
from tests.adapters.database.directory_copy import Copy, active, oid

PAGE = (ROOT / "docs" / "directory.md").read_text()
FETCH, OPEN = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOB = "directory.db"


def put(cloud: LocalCloud, folder: Path, *people: int) -> None:
    """Put a copy with these people into the blob."""
    file = folder / "ours.db"
    with closing((copy := Copy(file, USERS)).store):
        copy.round(*map(active, people))
    fold(file)
    cloud.blob.write(DIRECTORY_CONTAINER, BLOB, file.read_bytes())


def test_a_job_reads_the_blob(cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fetches the file only if it has changed; whoever has the file before open reads on, and writes nothing."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)
    names: dict[str, Any] = {"sqlite3": sqlite3, "folder": (folder := tmp_path / "job")}
    folder.mkdir()
    exec(FETCH, names)  # noqa: S102  # the page is ours
    options: dict[str, Any] = {"connection_verify": str(cloud.ca_file), "use_env_settings": False}

    def opened() -> sqlite3.Connection:
        found: sqlite3.Connection = eval(OPEN, names)  # noqa: S307  # as above
        return found

    with (
        ManagedIdentityCredential(client_id=IDENTITY_CLIENT_ID, use_env_settings=False) as identity,
        BlobClient(cloud.blob_url, DIRECTORY_CONTAINER, BLOB, credential=identity, **options) as names["blob"],
    ):
        put(cloud, tmp_path, 1)
        cloud.blob.requests.clear()
        with closing(opened()) as first, closing(opened()) as again:
            assert [seen.status for seen in cloud.blob.requests] == [206, 304]
            put(cloud, tmp_path, 2)
            with closing(opened()) as later:
                for connection, people in ((first, {oid(1)}), (again, {oid(1)}), (later, {oid(1), oid(2)})):
                    assert {row[0] for row in connection.execute("SELECT id FROM active_users")} == people
        assert {file.name for file in folder.iterdir()} == {BLOB, "etag"}
    gc.collect()  # an SDK client keeps its connection until then
