"""What is read of certificates and secrets; what a page and a store make of them is in tests/data/directory.toml."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.directory.credentials import CredentialKind, read_credentials
from tests.adapters.database.directory_copy import oid

SHA1 = "52ED9B5038A47B9E2E2190715CC238359D4F8F73"
DAY = 86_400.0


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        (SHA1, SHA1),
        (SHA1.lower(), SHA1),
        (base64.b64encode(bytes.fromhex(SHA1)).decode(), SHA1),
        (base64.b64encode(bytes(32)).decode(), "0" * 64),
        (base64.b64encode(b"a text").decode(), base64.b64encode(b"a text").decode()),
        ("deploy", "deploy"),
        ("c0ffee", "c0ffee"),
        ("half \ud83d", "half \ufffd"),
        ("", ""),
        (None, None),
    ],
)
def test_a_thumbprint_has_one_form(given_: str | None, stored: str | None) -> None:
    """Graph writes it in base64 or in hexadecimal; what an owner wrote there stays."""
    item = {"keyId": oid(1), "customKeyIdentifier": given_}
    held, _ = read_credentials([item], CredentialKind.KEY)
    assert held
    assert held[oid(1)].thumbprint == stored


def test_a_mark_of_a_secret_is_not_read() -> None:
    """Older portals kept a text there that its owner chose, which may be the secret."""
    held, mended = read_credentials([{"keyId": oid(1), "customKeyIdentifier": "CANARY"}], CredentialKind.SECRET)
    assert (held and held[oid(1)].thumbprint, mended) == (None, 0)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-02T00:00:00Z", DAY),
        ("1970-01-02T00:00:00.9999999Z", DAY),
        ("1970-01-02T01:00:00+01:00", DAY),
        ("1970-01-02T00:00:00", DAY),
        ("9999-12-31T23:59:59.9999999Z", 253_402_300_799.0),
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
        ("9999-12-31T23:59:59-01:00", None),
        ("soon", None),
        (7, None),
    ],
)
def test_a_date_is_an_instant_or_nothing(text: str | int, instant: float | None) -> None:
    """In whole seconds; what lies outside of every calendar stops nothing, and counts."""
    held, mended = read_credentials([{"keyId": oid(1).upper(), "endDateTime": text}], CredentialKind.SECRET)
    assert held
    assert held[oid(1)].ends_at == instant
    assert mended == (instant is None)


@pytest.mark.parametrize(
    ("given_", "known", "mended"),
    [
        (None, True, 0),
        ([], True, 0),
        ({}, False, 1),
        ("none", False, 1),
        ([None, {}, {"keyId": 1}, {"keyId": "x"}], True, 4),
        (
            [{"keyId": oid(1), "displayName": "a\0", "startDateTime": 1, "endDateTime": 1, "customKeyIdentifier": 1}],
            True,
            4,
        ),
    ],
)
def test_what_is_mended_is_counted(given_: Any, known: bool, mended: int) -> None:  # noqa: ANN401, FBT001  # any JSON value
    """A set that is no list is not known; an entry without a key id is left out of one."""
    held, number = read_credentials(given_, CredentialKind.KEY)
    assert (held is not None, number) == (known, mended)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["keyId", "endDateTime", "displayName"]), inner),
    max_leaves=8,
)


@given(values, st.sampled_from(CredentialKind))
def test_nothing_breaks_the_reader(value: Any, kind: CredentialKind) -> None:  # noqa: ANN401  # any JSON value
    """TST-16: whatever comes is read, and can be stored."""
    held, _ = read_credentials(value, kind)
    for each in (held or {}).values():
        assert b"\0" not in (each.name or "").encode()
