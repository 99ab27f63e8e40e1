from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import InvalidRequest
from shared.core.form import CREDENTIAL_LIMIT, CREDENTIAL_NAME_LIMIT, FIELDS, client_of, read_credential

BOTH = b"client_id=a&client_secret=b"
FULLY = b"".join(b"%%%02X" % sign for sign in b"client_id")


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (b"", (b"", b"")),
        (BOTH, (b"a", b"b")),
        (b"client_secret=b&client_id=a", (b"a", b"b")),
        (b"&" * (FIELDS - 2) + BOTH, (b"a", b"b")),
        (b"&" * (FIELDS - 1) + BOTH, (b"a", b"")),
        (b"&" * FIELDS + BOTH, (b"", b"")),
        (b"client_id=a&client_id=b&client_secret=&client_secret=b", (b"a", b"")),
        (b"client_id&client_secret", (b"", b"")),
        (b"client_id=a=b&client_secret=%&", (b"a=b", b"%")),
        (FULLY + b"=a&" + FULLY.lower() + b"=b", (b"a", b"")),
        (b"Client_id=a&client_id%00=b&client_ids=c&xclient_id=d&client+id=e&%43lient_id=f", (b"", b"")),
        (b"clien%74%5fsecre%74=b&%=%&\xff=\xff", (b"", b"b")),
    ],
)
def test_the_credentials_of_a_form_are_found(form: bytes, found: tuple[bytes, bytes]) -> None:
    """FND-B4: the first field of each name, in any spelling, among the first fields; nothing is decoded."""
    assert client_of(form)[:2] == found


def test_an_assertion_of_a_form_is_found() -> None:
    """RFC 7523 section 2.2: the first one, and nothing whose name only begins like it."""
    form = b"client_assertion_type=t&client%5Fassertion=a.b.c&client_assertion=d&client_id=e"
    assert client_of(form) == (b"e", b"", b"a.b.c")
    fits = b"%63%6C%69%65%6E%74%5F%61ssertion"
    assert len(fits) == CREDENTIAL_NAME_LIMIT
    assert client_of(fits + b"=a.b.c").assertion == b"a.b.c"


def test_a_name_is_looked_at_up_to_its_limit() -> None:
    """FND-B4: `client_secret` with as many escapes as fit, and with one more."""
    fits, more = b"%63%6C%69%65%6E%74%5F%73%65cret", b"%63%6C%69%65%6E%74%5F%73%65%63ret"
    assert len(fits) < CREDENTIAL_NAME_LIMIT < len(more)
    assert [client_of(name + b"=b")[1] for name in (fits, more)] == [b"b", b""]


@pytest.mark.parametrize("escaped", [b"x" * CREDENTIAL_LIMIT, b"%41" * (CREDENTIAL_LIMIT // 3)])
def test_a_credential_is_read_up_to_its_limit(escaped: bytes) -> None:
    """FND-B4: its escapes are counted as they stand there."""
    assert set(read_credential(escaped)) <= set("xA")
    with pytest.raises(InvalidRequest):
        read_credential(escaped + b"x" * 3)


@given(
    pieces=st.lists(
        st.sampled_from(["%41", "%c3%A9", "%3d", "%25", "%0a", "=", "_", "\r", "\n", " ", "41", "a"]), max_size=40
    )
)
def test_clean_escapes_mean_what_the_standard_library_says(pieces: list[str]) -> None:
    """RFC 3986 section 2.1: whatever stands beside them, line breaks and equals signs among it."""
    escaped = "".join(pieces)
    assert read_credential(escaped.encode()) == unquote(escaped, errors="strict")
