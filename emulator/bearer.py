"""The bearer token of a request (RFC 6750 section 2.1)."""

from starlette.requests import Request


def bearer_token(request: Request) -> str:
    """Return the token, or an empty string for a request with another scheme or none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""
