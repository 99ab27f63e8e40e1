import asyncio
import hashlib
from collections.abc import Callable

import jwt
import pytest

from shared.core.errors import (
    OperatorError,
    Unavailable,
)
from tests.clock import FakeClock, settle
from tests.credentials.bench import ENDPOINT, Bench

REREAD = 6 * 3_600.0
REUSE = 9 * 60.0


def test_an_assertion_is_reused_for_nine_minutes_per_audience() -> None:
    """The vault signs once per audience and nine minutes; each signature is of another `jti`."""
    bench = Bench()
    first, other = bench.assertion(), bench.assertion("https://other.example/token")
    bench.clock.tick(REUSE - 1)
    assert (bench.assertion(), bench.vault.signings) == (first, 2)
    bench.clock.tick(1)
    second = bench.assertion()
    assert (bench.vault.signings, bench.vault.readings) == (3, 1)
    ids = {jwt.decode(text, options={"verify_signature": False})["jti"] for text in (first, other, second)}
    assert len(ids) == 3


@pytest.mark.parametrize("move", [FakeClock.jump, FakeClock.suspend])
def test_either_clock_ends_the_reuse(move: Callable[[FakeClock, float], None]) -> None:
    """REL-36: Entra judges by a clock of its own, so an assertion is kept while both of ours find it young."""
    bench = Bench()
    first = bench.assertion()
    move(bench.clock, REUSE)
    assert bench.assertion() != first


def test_the_assertion_names_the_key_that_signed_it() -> None:
    """The signature is over the SHA-256 of header and claims, by the key of the version whose thumbprint is sent."""
    bench = Bench()
    assertion = bench.assertion()
    signed, _, signature = assertion.rpartition(".")
    expected = hashlib.sha256(b"vend/v1" + hashlib.sha256(signed.encode()).digest()).digest()
    assert jwt.utils.base64url_decode(signature) == expected
    assert jwt.get_unverified_header(assertion)["x5t#S256"] == "v1"


def test_concurrent_callers_share_one_signing() -> None:
    """Fifty who ask at once cost one reading and one signature; another audience costs a signature more."""
    bench = Bench()

    async def story() -> set[str]:
        asked = [ENDPOINT] * 50 + ["https://other.example/token"]
        proofs = await asyncio.gather(*(bench.prove(audience) for audience in asked))
        return {proof.fields["client_assertion"] for proof in proofs}

    assert len(asyncio.run(story())) == 2
    assert (bench.vault.readings, bench.vault.signings) == (1, 2)


def test_the_certificate_is_read_again_when_it_is_old() -> None:
    """REL-30: a new version is found within `reread_seconds`, without a restart."""
    bench = Bench()
    bench.assertion()
    bench.vault.versions["v2"] = bench.vault.version(days=-1)

    async def story() -> list[str]:
        found = []
        for wait in (REREAD - 1, REUSE, 0.0):
            bench.clock.tick(wait)
            proof = await bench.prove()
            found.append(jwt.get_unverified_header(proof.fields["client_assertion"])["x5t#S256"])
            await settle()
        return found

    # Nobody waits for the second reading: what is known serves meanwhile.
    assert asyncio.run(story()) == ["v1", "v1", "v2"]
    assert bench.vault.readings == 2


def test_an_expired_certificate_does_not_sign() -> None:
    """REL-29: the vault is asked for another one, and its refusal is the answer."""
    bench = Bench()
    bench.vault.versions["v1"] = bench.vault.version(life=REUSE / 86_400)
    bench.assertion()
    bench.clock.tick(REUSE)
    bench.vault.error = OperatorError(cause="no version")
    with pytest.raises(OperatorError):
        bench.assertion()
    assert bench.vault.signings == 1


def test_a_failed_reading_is_not_kept() -> None:
    """REL-23: the next caller asks the vault again."""
    bench = Bench()
    bench.vault.error = Unavailable(cause="down")
    with pytest.raises(Unavailable):
        bench.assertion()
    bench.vault.error = None
    assert bench.assertion()


def test_a_refused_assertion_is_dropped_and_no_other() -> None:
    """FND-G5: Entra has judged one; those for other tenants are sent on."""
    bench = Bench()
    first, other = bench.assertion(), bench.assertion("https://other.example/token")
    [link] = bench.credential.links
    assert link.drop(asyncio.run(bench.prove()))
    assert bench.assertion("https://other.example/token") == other
    assert bench.assertion() != first
    assert bench.vault.signings == 3


def test_the_oldest_assertion_goes_first() -> None:
    """SEC-16: there is one for each tenant, and no more than the cache has entries."""
    bench = Bench(cache_entries=2)
    first, second = bench.assertion("https://one.example"), bench.assertion("https://two.example")
    bench.assertion("https://three.example")
    assert bench.assertion("https://two.example") == second
    assert bench.assertion("https://one.example") != first
    assert bench.vault.signings == 4
