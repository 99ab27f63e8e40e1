"""Certificates with their keys, as files and Key Vault hold them."""

import base64
import copy
import pickle
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from shared.core.entra.key_pair import from_vault, read_key_pair
from shared.core.errors import OperatorError
from tests.pki import PrivateKey, chain, pem, pfx, rsa_key, signed
from tests.tables import case_id, cases

STARTS, ENDS = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file; tests/data/key_files.toml describes the fields."""

    id: str
    form: Literal["pem", "pfx", "none"]
    holds: list[str] = field(default_factory=list)
    locked: str = ""
    password: str = ""
    text: str = ""
    vault: bool = False
    chain: list[str] | None = None
    says: str | None = None


@pytest.fixture(scope="module")
def made() -> dict[str, PrivateKey | x509.Certificate]:
    """Every key and certificate that a case may name."""
    leaf, issuing, root = chain(starts=STARTS, ends=ENDS)
    short = signed("short", starts=STARTS, ends=ENDS, key=rsa_key(1_024))
    elliptic = signed("elliptic", starts=STARTS, ends=ENDS, key=ec.generate_private_key(ec.SECP256R1()))
    certified = {"leaf": leaf, "issuing": issuing, "root": root, "short leaf": short, "ec leaf": elliptic}
    keys = {"key": leaf.key, "short key": short.key, "ec key": elliptic.key, "other key": rsa_key()}
    return {name: each.certificate for name, each in certified.items()} | keys


def content(case: Case, made: dict[str, PrivateKey | x509.Certificate]) -> bytes:
    """Write the file of a case."""
    held = [made[name] for name in case.holds]
    if case.form == "none":
        return case.text.encode()
    if case.form == "pem":
        return pem(*held, password=case.locked)
    key = next((each for each in held if not isinstance(each, x509.Certificate)), None)
    certificates = [each for each in held if isinstance(each, x509.Certificate)]
    if key is None:
        return pfx(None, None, certificates, password=case.locked)
    return pfx(key, certificates[0], certificates[1:], password=case.locked)


@pytest.mark.parametrize("case", cases("key_files.toml", Case), ids=case_id)
def test_a_file_is_read_rightly_or_refused(case: Case, made: dict[str, PrivateKey | x509.Certificate]) -> None:
    """REL-26: an error names the file and the remedy, and nothing of what the file or the password holds."""
    file = content(case, made)
    if case.vault:
        value = base64.b64encode(file).decode() if case.form == "pfx" else file.decode()
        assert case.form == "none" or from_vault(value) == file
        file = from_vault(value)
    if case.says:
        with pytest.raises(OperatorError) as caught:
            read_key_pair(file, name="vend/v1", password=case.password)
        assert caught.value.cause == f"vend/v1: {case.says}"
        assert "docs/credentials.md" in (caught.value.remedy or "")
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return
    pair = read_key_pair(file, name="vend/v1", password=case.password)
    certificates = {name: each for name, each in made.items() if isinstance(each, x509.Certificate)}
    names = {each.public_bytes(Encoding.DER): name for name, each in certificates.items()}
    assert [names[der] for der in pair.certificate.chain] == case.chain
    assert (pair.certificate.not_before, pair.certificate.not_after) == (STARTS, ENDS)


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (2_400, "holds no private key; in Key Vault the certificate must be exportable"),
        (2_500, "is larger than 64 KiB"),
    ],
)
def test_a_file_of_beginnings_without_an_end_costs_little(count: int, says: str) -> None:
    """Its size is bounded, and it is searched once: a search from each beginning took 0.6 s with the GIL held."""
    begun = time.thread_time()
    with pytest.raises(OperatorError) as caught:
        read_key_pair(b"-----BEGIN PRIVATE KEY-----" * count, name="vend/v1")
    assert time.thread_time() - begun < 0.2
    assert caught.value.cause == f"vend/v1: {says}"


def test_a_key_pair_signs_and_shows_its_key_to_nobody() -> None:
    """FND-H7, SEC-09: PS256 (RFC 7518 section 3.5); it cannot be printed, pickled or copied into a file."""
    made = signed("vend", starts=STARTS, ends=ENDS)
    pair = read_key_pair(pem(made.key, made.certificate), name="vend/v1")
    assert isinstance(made.key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    made.key.public_key().verify(pair.sign(b"content"), b"content", pss, hashes.SHA256())
    assert "RSAPrivateKey" not in f"{pair!r} {pair}"
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="a private key is not written anywhere"):
            write(pair)
