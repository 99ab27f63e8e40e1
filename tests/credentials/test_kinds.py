"""Every kind of credential through the endpoint, with real sockets to the local cloud."""

import asyncio
import functools
import gc
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.seed import IDENTITY_PRINCIPAL_ID
from tests.clock import FakeClock
from tests.credentials.kinds import KINDS, SECRET_SECONDS, Client, Kind, new_client
from tests.end_to_end.test_secrets_stay_secret import forms
from tests.in_process import App

pytestmark = pytest.mark.slow


@contextmanager
def allowed(cloud: LocalCloud, role: str) -> Iterator[None]:
    """Give the app's identity a role in the vault for a while."""
    if role:
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, role)
    try:
        yield
    finally:
        if role:
            cloud.vault.unassign(IDENTITY_PRINCIPAL_ID, role)


@pytest.fixture
def client(timeless: LocalCloud, tmp_path: Path) -> Client:
    """A client without a credential."""
    return new_client(timeless, tmp_path)


@pytest.mark.parametrize("kind", KINDS, ids=attrgetter("id"))
def test_a_kind_gets_a_token(kind: Kind, client: Client, fake_clock: FakeClock) -> None:
    """One request to Entra, which accepts the proof; and what proves the client is in no line, `repr` or other file.

    Then Entra refuses it, and the same holds for what is told and kept of the refusal. No kind needs a thread
    of the event loop's pool, which others may fill.
    """
    cloud, others = client.cloud, errors_that_live()
    unusable = ThreadPoolExecutor()
    unusable.shutdown()

    async def story() -> None:
        asyncio.get_running_loop().set_default_executor(unusable)
        settings = client.settings(kind.make(client))
        async with App(cloud, fake_clock, client.folder, settings=settings, environ=client.environ) as app:
            before = len(cloud.entra.requests)
            told = await app.ask()
            assert told.status == 200, app.lines
            (request,) = cloud.entra.requests[before:]
            proof = request.proof
            assert kind.proof == ("secret" if proof is None else "issuer" if proof.issuer else "certificate")
            (accepted,) = app.everything("credential_accepted")
            assert (await app.ask()).body["token_source"] == "cache"
            assert len(cloud.entra.requests) == before + 1

            unregister(client)
            fake_clock.tick(SECRET_SECONDS)
            assert (await app.ask()).status in {502, 503}
            assert app.everything("credential_rests")[0]["credential"] == accepted["credential"]
            assert leaks(client, app.lines) == []
            assert kept_tracebacks(others) == []

    with allowed(cloud, kind.role):
        asyncio.run(story())


def unregister(client: Client) -> None:
    """Take every certificate and federated credential of the client away; a secret ends by itself."""
    directory = client.cloud.directory
    application = directory.application(client.id)
    assert application
    for key_id in application.certificates:
        directory.remove_certificate(client.id, key_id)
    for key_id in application.federated_credentials:
        directory.remove_federated_credential(client.id, key_id)


def leaks(client: Client, lines: Iterable[str]) -> list[str]:
    """Name each secret of the client in a line, in the `repr` of what lives, or in a file that is not its own."""
    texts = {"a line": "\n".join(lines).encode(), "a repr": "\n".join(reprs()).encode()}
    files = {
        str(path): path.read_bytes() for path in client.folder.rglob("*") if path.is_file() and path not in client.files
    }
    return [
        f"{name} in {where}"
        for where, text in (texts | files).items()
        for name, secret in client.secrets.items()
        if any(form in text for form in forms(secret))
    ]


def reprs() -> Iterator[str]:
    """Print everything of vend's own that lives, and the calls that it has prepared."""
    for value in gc.get_objects():
        if is_ours(value) or isinstance(value, functools.partial):
            yield repr(value)


def errors_that_live() -> list[Exception]:
    """List every error of vend's own."""
    gc.collect()
    return [value for value in gc.get_objects() if isinstance(value, Exception) and is_ours(value)]


def kept_tracebacks(others: Collection[Exception]) -> list[str]:
    """List the errors, beside those of other tests, that still have the frames that hold what was sent."""
    known = set(map(id, others))
    return [repr(error) for error in errors_that_live() if error.__traceback__ is not None and id(error) not in known]


def is_ours(value: object) -> bool:
    """Return whether a value is of a class of vend's."""
    return str(type(value).__module__).startswith("shared.")
