"""Where the callers document lies: what is written is whole, and nobody's work is written over."""

from pathlib import Path

import pytest
import typer

from cli.document_store import STORAGE, BlobStore, Changed, FileStore, rewrite
from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CLIENT_ID, CONTAINER, OPERATOR_CLIENT_ID
from tests.cli.conftest import token_of


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Its mode stays, a link stays a link, and nothing else is left in the folder."""
    file, link = tmp_path / "real.toml", tmp_path / "link.toml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file.name)
    store = FileStore(link)
    store.write(b"new", over=store.read())
    assert (link.is_symlink(), file.read_text(), file.stat().st_mode & 0o777) == (True, "new", 0o640)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.toml", "real.toml"]


@pytest.mark.parametrize("times", [1, 2])
def test_what_somebody_else_writes_meanwhile_stays(tmp_path: Path, times: int) -> None:
    """Once: it is read again, and the edit is made there. Twice: it is told, and nothing is written."""
    file = tmp_path / "callers.toml"
    file.write_text("a")
    others = ["b", "c"][:times]

    def edit(content: bytes | None) -> bytes:
        if others:
            file.write_text(others.pop(0))
        return (content or b"") + b" and ours"

    store = FileStore(file)
    if times == 1:
        rewrite(store, edit, over=store.read())
        assert file.read_text() == "b and ours"
        return
    with pytest.raises(Changed):
        rewrite(store, edit, over=store.read())
    assert [each.read_text() for each in tmp_path.iterdir()] == ["c"]


@pytest.fixture(scope="module")
def blob(cloud: LocalCloud) -> BlobStore:
    """A blob that is not there yet, for the operator."""
    token = token_of(cloud, OPERATOR_CLIENT_ID, STORAGE)
    return store(cloud, token)


def store(cloud: LocalCloud, token: str, name: str = "a/callers.toml") -> BlobStore:
    """Reach a blob with one token, which is asked for by the resource that it is for."""
    return BlobStore(
        f"{cloud.blob_url}/{CONTAINER}/{name}", token={STORAGE: token}.__getitem__, ca_file=str(cloud.ca_file)
    )


def test_of_two_who_write_a_blob_one_is_told(cloud: LocalCloud, blob: BlobStore) -> None:
    """Who has read another version, or none, has not seen what the other wrote, and does not write over it."""
    nothing = blob.read()
    assert nothing.content is None
    blob.write(b"first", over=nothing)
    with pytest.raises(Changed):
        blob.write(b"second", over=nothing)
    seen = blob.read()
    blob.write(b"third", over=seen)
    with pytest.raises(Changed):
        blob.write(b"fourth", over=seen)
    assert cloud.blob.read(CONTAINER, "a/callers.toml") == b"third"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("no role", "You need the role Storage Blob Data Reader on it (it takes up to 10 minutes)"),
        ("no container", "Is `callers` in vend.toml right?"),
        ("nobody", "Is `callers` in vend.toml right, and does its network let you in?"),
        ("out of order", "Is `callers` in vend.toml right?"),
    ],
)
def test_a_blob_that_cannot_be_read_is_no_missing_one(
    cloud: LocalCloud, capfd: pytest.CaptureFixture[str], trouble: str, says: str
) -> None:
    """It would be written anew and empty; what is wrong is told instead, without the token."""
    token = token_of(cloud, CLIENT_ID if trouble == "no role" else OPERATOR_CLIENT_ID, STORAGE)
    reached = store(cloud, token)
    match trouble:
        case "no container":
            url = f"{cloud.blob_url}/nowhere/callers.toml"
            reached = BlobStore(url, token=lambda _: token, ca_file=str(cloud.ca_file))
        case "nobody":
            cloud.faults["blob"].set(Fault(kind=Kind.REFUSE))
        case "out of order":
            cloud.faults["blob"].set(Fault(kind=Kind.STATUS, status=500))
    try:
        with pytest.raises(typer.Exit):
            reached.read()
    finally:
        cloud.faults["blob"].clear()
    told = capfd.readouterr().err
    assert says in told
    assert token not in told
