"""What becomes of the credentials of a profile when Entra refuses one."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs

import jwt
import pytest

from shared.core.entra.clouds import CLOUDS
from shared.core.errors import CredentialRefused
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import Wanted
from shared.credentials.chain import Chain
from shared.credentials.vault_certificate import VaultCertificate
from shared.tokens.acquire import Client, Entra
from tests.credentials.bench import CLIENT, KEY, Bench, FakeVault

TOKEN = b'{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}'


class Registration:
    """An app registration that knows some certificates, and a profile with several credentials for it."""

    def __init__(self, *versions: str, known: set[str]) -> None:
        self.known = known
        self.proofs: list[Mapping[str, str]] = []
        self._bench = Bench()
        links = [self._link(version) for version in versions]
        self._entra = Entra(
            cloud=CLOUDS["public"],
            clients={KEY.profile: Client(client_id=CLIENT, credential=Chain(links))},
            post=self._post,
            limits=Limits(),
            system=self._bench.system,
            events=self._bench.events,
        )

    @property
    def asked(self) -> list[str]:
        """List the certificates that proofs were made with, in their order."""
        return [jwt.get_unverified_header(proof["client_assertion"])["x5t#S256"] for proof in self.proofs]

    def acquire(self) -> str:
        """Acquire a token."""
        return asyncio.run(self._entra.acquire(Wanted(KEY, flight_id="id-7"))).token.secret

    def _link(self, version: str) -> VaultCertificate:
        vault = FakeVault(self._bench.clock)
        vault.version = version
        system = self._bench.system
        return VaultCertificate(vault=vault, name="vend", client_id=CLIENT, limits=Limits(), system=system)

    def acquire_at_once(self, count: int) -> set[type]:
        """Start so many flights at once, and return what they raised."""

        async def flights() -> list[object]:
            each = (self._entra.acquire(Wanted(KEY, flight_id="id-7")) for _ in range(count))
            return list(await asyncio.gather(*each, return_exceptions=True))

        return {type(ended) for ended in asyncio.run(flights())}

    async def _post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:  # noqa: ARG002
        await asyncio.sleep(0)  # the other flights ask meanwhile
        self.proofs.append({name: values[0] for name, values in parse_qs(form.decode()).items()})
        return Reply(200, TOKEN) if self.asked[-1] in self.known else Reply(401, b'{"error": "invalid_client"}')


def test_the_next_credential_proves_the_client_where_the_first_is_refused() -> None:
    """One flight asks with both, and later flights ask with the accepted one alone."""
    registration = Registration("v1", "v2", known={"v2"})
    assert [registration.acquire(), registration.acquire()] == ["opaque", "opaque"]
    assert registration.asked == ["v1", "v2", "v2"]


def test_where_every_credential_is_refused_all_count_again() -> None:
    """A flight asks with each at most once; the first that becomes known later is found by the next flight."""
    registration = Registration("v1", "v2", known=set())
    with pytest.raises(CredentialRefused):
        registration.acquire()
    registration.known = {"v1"}
    assert registration.acquire() == "opaque"
    assert registration.asked == ["v1", "v2", "v1"]


def test_flights_at_once_ask_with_each_credential_once_each() -> None:
    """What one flight learns of the links does not make another begin again: 20 requests for ten, and not 65."""
    registration = Registration("v1", "v2", known=set())
    assert registration.acquire_at_once(10) == {CredentialRefused}
    assert len(registration.asked) <= 20


def test_a_refused_assertion_is_not_sent_again() -> None:
    """FND-G5: a refusal has proved it wrong, so its nine minutes are over; the next proof is signed anew."""
    registration = Registration("v1", known=set())
    for _ in range(2):
        with pytest.raises(CredentialRefused):
            registration.acquire()
    first, second = (proof["client_assertion"] for proof in registration.proofs)
    assert first != second
