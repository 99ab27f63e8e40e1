"""Where the callers document lies: what is written is whole, and nobody's work is written over."""

from pathlib import Path

import pytest
import typer

from cli.document_store import STORAGE, BlobStore, Changed, FileStore, IsIn, WriteUnknown, rewrite
from cli.patience import Patience
from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CLIENT_ID, CONTAINER, OPERATOR_CLIENT_ID
from tests.cli.conftest import token_of
from tests.emulator.client import Clock


def has(part: bytes) -> IsIn:
    """Look for a change by some of its words."""
    return lambda content: part in (content or b"")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Its mode stays, a link stays a link, and nothing else is left in the folder."""
    file, link = tmp_path / "real.toml", tmp_path / "link.toml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file.name)
    store = FileStore(link, name="callers.toml")
    store.write(b"new", over=store.read(), is_in=has(b"new"))
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

    store = FileStore(file, name="callers.toml")
    if times == 1:
        rewrite(store, edit, over=store.read(), is_in=has(b"ours"))
        assert file.read_text() == "b and ours"
        return
    with pytest.raises(Changed):
        rewrite(store, edit, over=store.read(), is_in=has(b"ours"))
    assert [each.read_text() for each in tmp_path.iterdir()] == ["c"]


def test_what_somebody_else_has_written_too_is_not_written_again(tmp_path: Path) -> None:
    """Two operators make one change: the second one finds it, and an edit that cannot be made twice is no failure."""
    file = tmp_path / "callers.toml"
    file.write_text("a")
    store, edits = FileStore(file, name="callers.toml"), 0

    def edit(_: bytes | None) -> bytes:
        nonlocal edits
        edits += 1
        file.write_text("a and ours, by Bob")
        return b"a and ours"

    rewrite(store, edit, over=store.read(), is_in=has(b"ours"))
    assert (file.read_text(), edits) == ("a and ours, by Bob", 1)


@pytest.fixture
def blob(cloud: LocalCloud, tmp_path: Path) -> BlobStore:
    """A blob of this test alone that is not there yet, for the operator."""
    token = token_of(cloud, OPERATOR_CLIENT_ID, STORAGE)
    return store(cloud, token, f"{tmp_path.name}/callers.toml")


def patience() -> Patience:
    """Wait by a clock that runs when a command sleeps."""
    clock = Clock(0.0)

    def sleep(seconds: float) -> None:
        clock.moment += seconds

    return Patience(clock, sleep)


def store(cloud: LocalCloud, token: str, name: str = "a/callers.toml") -> BlobStore:
    """Reach a blob with one token, which is asked for by the resource that it is for."""
    return BlobStore(
        f"{cloud.blob_url}/{CONTAINER}/{name}",
        token={STORAGE: token}.__getitem__,
        ca_file=str(cloud.ca_file),
        patience=patience(),
    )


def test_of_two_who_write_a_blob_one_is_told(blob: BlobStore) -> None:
    """Who has read another version, or none, has not seen what the other wrote, and does not write over it."""
    nothing = blob.read()
    assert nothing.content is None
    blob.write(b"first", over=nothing, is_in=has(b"first"))
    with pytest.raises(Changed):
        blob.write(b"second", over=nothing, is_in=has(b"second"))
    seen = blob.read()
    blob.write(b"third", over=seen, is_in=has(b"third"))
    with pytest.raises(Changed):
        blob.write(b"fourth", over=seen, is_in=has(b"fourth"))
    assert blob.read().content == b"third"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("no role", "You need the role Storage Blob Data Reader on it (it takes up to 10 minutes)"),
        ("no container", "Is `callers` in vend.toml right?"),
        ("nobody", "Is `callers` in vend.toml right, and does its network let you in?"),
        ("out of order", "Azure Storage answers 500. Repeated for up to 60 s.\n"),
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
            reached = BlobStore(url, token=lambda _: token, ca_file=str(cloud.ca_file), patience=patience())
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


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        (Fault(kind=Kind.STATUS, status=503, headers={"x-ms-error-code": "ServerBusy"}, times=12), "503 ServerBusy"),
        (Fault(kind=Kind.CUT, after_bytes=0, times=1), "broke off"),
    ],
    ids=["busy", "written, and the answer is lost"],
)
def test_a_write_that_fails_for_now_is_repeated(
    cloud: LocalCloud, blob: BlobStore, capfd: pytest.CaptureFixture[str], fault: Fault, answers: str
) -> None:
    """For a minute, and it is said once. What the first attempt wrote is no change by somebody else."""
    seen = blob.read()
    cloud.faults["blob"].set(fault)
    try:
        blob.write(answers.encode(), over=seen, is_in=has(answers.encode()))
    finally:
        cloud.faults["blob"].clear()
    told = capfd.readouterr().err
    assert blob.read().content == answers.encode()
    assert (told.count("Repeated for up to 60 s."), answers in told) == (1, True)


@pytest.mark.parametrize("times", [13, None], ids=["it stays as it was", "not known"])
def test_a_write_that_fails_for_a_minute_tells_what_is_there(
    cloud: LocalCloud, blob: BlobStore, times: int | None
) -> None:
    """Where the blob can be read it decides; where it cannot, nobody knows, and the caller of `write` hears so."""
    seen = blob.read()
    cloud.faults["blob"].set(Fault(kind=Kind.STATUS, status=500, times=times))
    try:
        with pytest.raises(typer.Exit) as ended:
            blob.write(b"never", over=seen, is_in=has(b"never"))
    finally:
        cloud.faults["blob"].clear()
    assert isinstance(ended.value, WriteUnknown) is (times is None)
    assert blob.read().content == seen.content
