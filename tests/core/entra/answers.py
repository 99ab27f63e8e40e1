"""Bytes that a token endpoint may answer with, made up."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

CLAIM_NAMES = ("ver", "aud", "tid", "appid", "idtyp", "azp", "exp", "sub", "jti")

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# Whatever an STS may put where a JWT has its header and claims.
jwts = st.builds(
    lambda header, claims: f"{_segment(header)}.{_segment(claims)}.e30",
    st.just({"alg": "none"}) | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), json_values),
    json_values | st.dictionaries(st.sampled_from(CLAIM_NAMES), json_values),
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "access_token": st.text() | jwts,
        "token_type": st.just("Bearer") | json_values,
        "expires_in": st.just(3599) | json_values,
        "refresh_in": json_values,
        "error": json_values,
        "error_description": st.just("AADSTS7") | json_values,
    },
)
bodies = st.binary() | st.builds(lambda value: json.dumps(value).encode(), answers | json_values)
