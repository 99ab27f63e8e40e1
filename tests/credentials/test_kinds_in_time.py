"""What becomes of each kind of credential as time passes: changed files, new versions, emergencies, a slow Entra."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.entra.signing import SigningKey
from emulator.network.faults import Fault, Kind
from emulator.seed import IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.credentials import kinds
from tests.credentials.kinds import Client, new_client
from tests.in_process import GRAPH_SCOPE, ORDERS_SCOPE, App, suffering
from tests.pki import pem, signed

pytestmark = pytest.mark.slow

HOUR, DAY = 3_600.0, 86_400.0
SIGNS = "vend signer"
LATER = 601.0
"""Longer than the longest reuse of an assertion, and than the first rest of a link."""


@pytest.fixture
def client(timeless: LocalCloud, tmp_path: Path) -> Iterator[Client]:
    """A client without a credential, whose app may read the secrets of the vault; new credentials spread at once."""
    timeless.vault.assign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)
    yield new_client(timeless, tmp_path)
    timeless.vault.unassign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)
    timeless.vault.store.pending_seconds = timeless.directory.propagation_seconds = 0.0


def app_of(client: Client, clock: FakeClock, *credentials: str, more: str = "") -> App:
    """Start a worker whose profile has these credentials."""
    settings = client.settings(*credentials) + more
    return App(client.cloud, clock, client.folder, settings=settings, environ=client.environ)


async def status(app: App, client: Client, scope: str = GRAPH_SCOPE) -> tuple[int, int]:
    """Ask for a token that is not cached, and return the status with the number of requests to Entra."""
    app.clock.tick(2 * HOUR)
    before = len(client.cloud.entra.requests)
    told = await app.ask(scope)
    await app.landed()
    return told.status, len(client.cloud.entra.requests) - before


def accepted(client: Client) -> str:
    """Return the thumbprint of the certificate, or the `jti` of the assertion, that Entra accepted last."""
    proof = client.cloud.entra.requests[-1].proof
    assert proof
    return proof.thumbprint or proof.jti


def write_certificate(client: Client, *, starts: float = -DAY, ends: float = 300 * DAY) -> str:
    """Write another certificate over the file, register it, and return its thumbprint; times in seconds from now."""
    now = client.now
    made = signed("vend", starts=now + dt.timedelta(seconds=starts), ends=now + dt.timedelta(seconds=ends))
    client.write("vend.pem", pem(made.key, made.certificate))
    kinds.register(client, made)
    application = client.cloud.directory.application(client.id)
    assert application
    return list(application.certificates.values())[-1].certificate.x5t_s256


def test_a_changed_certificate_file_is_read_again(client: Client, fake_clock: FakeClock) -> None:
    """REL-26: a broken, expired or future certificate leaves the old one in use, and an event names file and reason."""
    first = write_certificate(client)

    async def story() -> None:
        async with app_of(client, fake_clock, 'type = "certificate_file", path = "vend.pem"') as app:
            assert await status(app, client) == (200, 1)
            for spoil in (
                lambda: client.write("vend.pem", b"C4N4RY"),
                lambda: write_certificate(client, ends=-HOUR),
                lambda: write_certificate(client, starts=3 * DAY),
                (client.folder / "vend.pem").unlink,
            ):
                spoil()
                assert await status(app, client) == (200, 1)
                assert accepted(client) == first
            second = write_certificate(client)
            await status(app, client)  # which has the file read behind it
            assert await status(app, client) == (200, 1)
            assert accepted(client) == second
            causes = {event["cause"] for event in app.everything("credential_unread")}
            assert causes == {
                "vend.pem: is no PEM or PFX file, or its password is another one",
                "vend.pem: the certificate is not valid yet, or has ended",
                "vend.pem: cannot be read (FileNotFoundError)",
            }

    asyncio.run(story())


def test_a_certificate_file_that_has_ended_is_not_used(client: Client, fake_clock: FakeClock) -> None:
    """REL-29: nothing is sent to Entra, and the event says what to replace; a new file serves."""
    write_certificate(client, ends=3 * HOUR)

    async def story() -> None:
        async with app_of(client, fake_clock, 'type = "certificate_file", path = "vend.pem"') as app:
            assert await status(app, client) == (200, 1)
            assert await status(app, client) == (502, 0)
            (failed,) = app.everything("acquire_failed")
            assert failed["cause"] == "vend.pem: the certificate is not valid yet, or has ended"
            write_certificate(client)
            assert await status(app, client) == (200, 1)

    asyncio.run(story())


def test_an_assertion_file_is_read_for_every_proof(client: Client, fake_clock: FakeClock) -> None:
    """Its writer keeps it fresh; a missing or empty file is an error that names it."""
    credential = kinds.assertion_file(client)

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            for _ in range(2):
                fake_clock.tick(2 * HOUR)
                written = kinds.write_assertion(client)
                assert (await app.ask()).status == 200
                assert accepted(client) == written
            client.write("tokens/assertion", b"\n")
            assert await status(app, client) == (502, 0)
            (client.folder / "tokens" / "assertion").unlink()
            assert await status(app, client) == (503, 0)
            assert [event["cause"] for event in app.everything("acquire_failed")] == [
                "tokens/assertion: holds no assertion",
                "tokens/assertion: cannot be read (FileNotFoundError)",
            ]

    asyncio.run(story())


def test_an_old_assertion_in_a_file_says_nothing_of_our_clock(client: Client, fake_clock: FakeClock) -> None:
    """REL-09: 700024 for a time that another wrote has the file rest, and the certificate behind it is asked with."""
    credentials = kinds.assertion_file(client), kinds.in_vault(client)
    fake_clock.tick(HOUR)

    async def story() -> None:
        async with app_of(client, fake_clock, *credentials) as app:
            before = len(client.cloud.entra.requests)
            assert (await app.ask()).status == 200
            assert [request.code for request in client.cloud.entra.requests[before:]] == [700024, None]
            (rests,) = app.everything("credential_rests")
            assert (rests["credential"], rests["cause"]) == ("tokens/assertion", "AADSTS700024")

    asyncio.run(story())


def test_an_elliptic_key_in_the_vault_is_named_and_passed_over(client: Client, fake_clock: FakeClock) -> None:
    """REL-26: 502 with an event that names the certificate; another link that is usable goes on."""
    name = client.vault_certificate
    client.cloud.vault.create_certificate(name, Policy("CN=vend", curve="P-256"))
    elliptic = f'type = "certificate", vault = "{client.cloud.vault_url}", name = "{name}"'

    async def story() -> None:
        for more in ("", ', signing = "local"'):
            async with app_of(client, fake_clock, elliptic + more) as app:
                assert await status(app, client) == (502, 0)
                (failed,) = app.everything("acquire_failed")
                assert failed["cause"].startswith(f"{name}/")
                assert "RSA key" in failed["cause"]
                assert "docs/credentials.md" in failed["remedy"]
        async with app_of(client, fake_clock, elliptic, kinds.setting_secret(client)) as app:
            assert await status(app, client) == (200, 1)

    asyncio.run(story())


def test_two_secrets_of_app_settings_are_two_links(client: Client, fake_clock: FakeClock) -> None:
    """Each is asked with once: the way to change a secret without an outage."""
    client.environ["OLD_SECRET"] = "a secret that is no longer registered"
    credentials = 'type = "secret", value = "${OLD_SECRET}"', kinds.setting_secret(client)

    async def story() -> None:
        async with app_of(client, fake_clock, *credentials) as app:
            assert await status(app, client) == (200, 2)
            assert await status(app, client) == (200, 1)
            (rests,) = app.everything("credential_rests")
            assert (rests["credential"], rests["cause"]) == ("secret of credentials[0]", "AADSTS7000215")

    asyncio.run(story())


def test_a_new_version_of_a_refused_secret_is_found(client: Client, fake_clock: FakeClock) -> None:
    """REL-07 7000215: the vault is read again at once, and the new version is asked with: one request more."""
    credential = kinds.vault_secret(client)

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert (await app.ask()).status == 200
            client.cloud.vault.set_secret(client.vault_secret, "a secret that nobody registered")
            fake_clock.tick(kinds.SECRET_SECONDS)  # the registered one has ended, and the vault lists another one
            secret = client.cloud.directory.add_secret(client.id, lifetime=DAY)
            client.cloud.vault.set_secret(client.vault_secret, secret)
            before = len(client.cloud.entra.requests)
            assert (await app.ask()).status == 200
            codes = [request.code for request in client.cloud.entra.requests[before:]]
            assert codes[0] == 7000222
            assert codes[-1] is None
            assert len(codes) <= 3

    asyncio.run(story())


@pytest.mark.parametrize(
    ("secret", "cause"),
    [
        ("", "the client secret is empty"),
        ("pässword", "the client secret has characters that no secret of Entra has"),
        ("a\nb", "the client secret has characters that no secret of Entra has"),
    ],
)
def test_a_secret_that_is_none_is_the_operators_to_mend(
    client: Client, fake_clock: FakeClock, secret: str, cause: str
) -> None:
    """Nothing is sent to Entra."""
    client.cloud.vault.set_secret(client.vault_secret, secret)
    credential = f'type = "secret", vault = "{client.cloud.vault_url}", name = "{client.vault_secret}"'

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (502, 0)
            assert app.everything("acquire_failed")[0]["cause"] == cause

    asyncio.run(story())


def test_a_vault_without_the_right_to_secrets_says_which(client: Client, fake_clock: FakeClock) -> None:
    """REL-24: the event names the rights that this kind needs."""
    client.cloud.vault.unassign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)
    credentials = kinds.vault_secret(client), kinds.in_vault(client, exportable=True, more=', signing = "local"')

    async def story() -> None:
        for credential in credentials:
            async with app_of(client, fake_clock, credential) as app:
                assert await status(app, client) == (502, 0)
                assert "secrets/getSecret" in app.everything("acquire_failed")[0]["remedy"]

    asyncio.run(story())
    client.cloud.vault.assign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)


def test_a_role_of_the_identity_counts_with_the_token_that_it_has(client: Client, fake_clock: FakeClock) -> None:
    """REL-35: no refusal for want of a role has another token asked for, whose endpoint keeps it for up to a day."""
    cloud, credential = client.cloud, kinds.in_vault(client)
    cloud.vault.unassign(IDENTITY_PRINCIPAL_ID, SIGNS)

    async def story() -> None:
        before = len(cloud.identity.requests)
        async with app_of(client, fake_clock, credential) as app:
            for _ in range(10):
                assert (await app.ask()).status == 502
                fake_clock.tick(61)
            cloud.vault.assign(IDENTITY_PRINCIPAL_ID, SIGNS)
            assert (await app.ask()).status == 200
        assert len(cloud.identity.requests) - before == 1

    try:
        asyncio.run(story())
    finally:
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, SIGNS)


def test_a_vault_that_lacks_the_secret_says_so(client: Client, fake_clock: FakeClock) -> None:
    """REL-25: 502, and the remedy is to compare the names."""
    credential = kinds.vault_secret(client).replace(client.vault_secret, "another-name")

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (502, 0)
            (failed,) = app.everything("acquire_failed")
            assert failed["cause"] == "Key Vault: HTTP 404 SecretNotFound"
            assert failed["remedy"].startswith("compare vault and name")

    asyncio.run(story())


def test_an_identity_that_the_app_does_not_have_is_named(client: Client, fake_clock: FakeClock) -> None:
    """REL-33: 502, and the remedy is to assign it."""
    credential = kinds.federated(client).replace(IDENTITY_CLIENT_ID, "00000000-0000-4000-8000-000000000000")

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (502, 0)
            failed = app.everything("acquire_failed")[-1]
            assert failed["cause"] == "managed identity: identity_client_id is not assigned to the app"
            assert failed["remedy"].startswith("assign the user-assigned identity")

    asyncio.run(story())


@pytest.mark.parametrize("status_of_part", [429, 500, 503])
@pytest.mark.parametrize(
    ("part", "make"), [("vault", kinds.in_vault), ("identity", kinds.federated)], ids=["vault", "identity"]
)
def test_a_kind_that_cannot_make_its_proof_is_passed_over(
    client: Client, fake_clock: FakeClock, part: str, make: Callable[[Client], str], status_of_part: int
) -> None:
    """REL-23, REL-32: what makes the proof of the first is away: the second proves the request, and nothing rests."""
    credentials = make(client), kinds.setting_secret(client)
    away = Fault(kind=Kind.STATUS, status=status_of_part)

    async def story() -> None:
        async with app_of(client, fake_clock, *credentials) as app:
            with suffering(client.cloud.faults[part], away):
                assert await status(app, client) == (200, 1)
            assert app.everything("credential_rests") == []
        async with app_of(client, fake_clock, credentials[0]) as app:
            with suffering(client.cloud.faults[part], away):
                assert await status(app, client) == (503, 0)
            assert await status(app, client) == (200, 1)

    asyncio.run(story())


@pytest.mark.parametrize(
    "make",
    [
        lambda client: kinds.in_vault(client, exportable=True, more=', signing = "local"'),
        kinds.vault_secret,
    ],
    ids=["local", "secret"],
)
def test_what_was_read_of_a_vault_outlives_it(
    client: Client, fake_clock: FakeClock, make: Callable[[Client], str]
) -> None:
    """REL-27: the vault is away for a day: a worker that runs has new tokens, and a new one answers 503."""
    credential = make(client)

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (200, 1)
            with suffering(client.cloud.faults["vault"], Fault(kind=Kind.STATUS, status=503)):
                for _ in range(12):
                    assert await status(app, client) == (200, 1)
                unread = app.everything("credential_unread")
                assert {event["cause"] for event in unread} == {"Key Vault: HTTP 503"}
                async with app_of(client, fake_clock, credential) as new:
                    assert await status(new, client) == (503, 0)

    asyncio.run(story())


def test_a_version_that_is_pending_is_never_chosen(client: Client, fake_clock: FakeClock) -> None:
    """FND-F1: the listing has it without its key, certificate and thumbprint; the older version goes on serving."""
    credential = kinds.in_vault(client)
    vault = client.cloud.vault

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (200, 1)
            first = accepted(client)
            vault.store.pending_seconds = 10 * DAY
            vault.create_certificate(client.vault_certificate, Policy("CN=vend", exportable=False))
            for _ in range(2):
                fake_clock.tick(DAY)
                assert await status(app, client) == (200, 1)
            assert accepted(client) == first
        async with app_of(client, fake_clock, credential) as app:
            assert await status(app, client) == (200, 1)

    asyncio.run(story())


def test_a_federated_credential_that_spreads_is_used(client: Client, fake_clock: FakeClock) -> None:
    """REL-34: the only link is refused for five minutes: 503 with 30 s, one request per 30 s, then a token.

    REL-35: meanwhile the identity is asked for its token once.
    """
    directory = client.cloud.directory
    directory.propagation_seconds = 300.0
    credential = kinds.federated(client)

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            before, asked = len(client.cloud.entra.requests), len(client.cloud.identity.requests)
            for second in range(0, 300, 10):
                told = await app.ask()
                assert told.status == 503
                assert second % 30 or told.wait in range(30, 34)  # a tenth is added, so that callers spread
                fake_clock.tick(10)
            assert len(client.cloud.entra.requests) - before == 10
            assert {request.code for request in client.cloud.entra.requests[before:]} == {70021}
            assert (await app.ask()).status == 200
            assert len(client.cloud.identity.requests) - asked == 1

    asyncio.run(story())


def test_a_challenge_has_the_token_of_the_identity_replaced(client: Client, fake_clock: FakeClock) -> None:
    """The endpoint is told which token not to give out again; Entra gets the claims, and another assertion."""
    credential = kinds.federated(client)
    cloud = client.cloud
    cloud.identity.caches = True

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert (await app.ask()).status == 200
            first, asked = accepted(client), len(cloud.identity.requests)
            fake_clock.tick(60)
            claims = json.dumps({"access_token": {"nbf": {"essential": True, "value": str(int(fake_clock.wall()))}}})
            assert (await app.ask(claims=claims)).status == 200
            (again,) = cloud.identity.requests[asked:]
            assert len(again.refused_digest) == 64
            assert '"nbf"' in cloud.entra.requests[-1].claims
            assert accepted(client) != first

    try:
        asyncio.run(story())
    finally:
        cloud.identity.caches = False


def test_a_token_of_the_identity_that_entra_refused_is_not_sent_again(client: Client, fake_clock: FakeClock) -> None:
    """Entra signs with other keys by now, and the platform still has the old token: 502 for a minute, then 200."""
    credential = kinds.federated(client)
    cloud = client.cloud
    cloud.identity.caches, key = True, cloud.tokens.key

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert (await app.ask()).status == 200
            cloud.tokens.key = SigningKey()
            asked = len(cloud.identity.requests)
            assert (await app.ask(ORDERS_SCOPE)).status == 502
            assert app.everything("acquire_failed")[-1]["cause"] == "AADSTS7000274"
            fake_clock.tick(61)
            assert (await app.ask(ORDERS_SCOPE)).status == 200
            (again,) = cloud.identity.requests[asked:]
            assert len(again.refused_digest) == 64

    try:
        asyncio.run(story())
    finally:
        cloud.identity.caches, cloud.tokens.key = False, key


@pytest.mark.parametrize(("registered_at", "served_from"), [(0, 0), (10, 71)], ids=["new first", "old first"])
def test_an_emergency_fails_nobody_who_is_served_by_the_new_version(
    client: Client, fake_clock: FakeClock, registered_at: int, served_from: int
) -> None:
    """FND-G1, FND-G2: the old version is disabled and taken off, a new one registered, while callers ask each second.

    A cached token is served without an error. For another one no request fails where the new version is registered
    first. Where the old one is taken off before that, the worker serves a minute after the registration.
    """
    credential = kinds.in_vault(client)
    vault, directory, name = client.cloud.vault, client.cloud.directory, client.vault_certificate

    async def story() -> None:
        async with app_of(client, fake_clock, credential) as app:
            assert (await app.ask()).status == 200
            fake_clock.tick(LATER)
            (old,) = vault.versions(name)
            application = directory.application(client.id)
            assert application
            vault.create_certificate(name, Policy("CN=vend", exportable=False))
            vault.set_enabled(name, old, enabled=False)
            (key_id,) = application.certificates
            directory.remove_certificate(client.id, key_id)
            statuses = []
            for second in range(120):
                if second == registered_at:
                    directory.register_certificate(client.id, vault.certificate(name))
                assert (await app.ask()).status == 200  # from the cache
                statuses.append((await app.ask(ORDERS_SCOPE)).status)
                fake_clock.tick(1)
            assert set(statuses[served_from:]) == {200}
            assert len(client.cloud.entra.requests) - before <= 4

    before = len(client.cloud.entra.requests)
    asyncio.run(story())
