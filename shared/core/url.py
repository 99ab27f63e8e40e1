"""Secrets in URLs: logs keep a URL, so that no secret in it is passed over in silence, however its name is spelled."""

import re
from urllib.parse import unquote

from shared.core.errors import InvalidRequest
from shared.core.form import FIELDS

NAME_LIMIT = 48
"""Characters, still escaped: the names of a URL that are decoded before the caller is known."""

_KEYS = ("code", "key", "function_key", "functions_key", "x_functions_key", "identity_header", "x_identity_header")
_OTHERS = (
    "access_token", "actor_token", "api_key", "assertion", "authorization", "client_assertion", "client_secret",
    "code_verifier", "device_code", "id_token", "password", "refresh_token", "secret", "sig", "subject_token", "token",
)  # fmt: skip
_NO_LETTER = re.compile("[^a-z]+")


def _letters(name: str) -> str:
    """Return what `client_secret`, `Client-Secret` and `clientSecret[]` have in common."""
    return _NO_LETTER.sub("", name.lower())


_NAMES = {_letters(name): name for name in (*_KEYS, *_OTHERS)}


def check_no_secret(query: str) -> None:
    """Check that no field of a query has the name of a secret.

    This runs before the caller is known, so its work is bounded whatever is sent.

    Raises:
        InvalidRequest: one has, or there are too many fields to look at.
    """
    # Some readers of URLs take a semicolon for a separator.
    fields = query.replace(";", "&").split("&", FIELDS)
    if len(fields) > FIELDS:
        raise InvalidRequest(f"the URL has more than {FIELDS} fields")
    for field in fields:
        escaped, _, value = field.partition("=")
        name = _NAMES.get(_letters(unquote(escaped))) if len(escaped) <= NAME_LIMIT else None
        # An empty field counts as not sent, but for the one that the host takes a key from.
        if name is None or not (value or name == "code"):
            continue
        if name in _KEYS:
            raise InvalidRequest(
                "the function key was sent in the URL, where logs keep it",
                cause="key in URL",
                hint="send it in its header, and have this key replaced",
            )
        raise InvalidRequest(
            f"{name} was sent in the URL, where logs keep it",
            cause=f"{name} in URL",
            hint="send it nowhere but where it belongs, and have this one replaced",
        )
