"""The local issuer: tokens of service accounts, its discovery document, and its keys.

It publishes and signs as the issuer of a Kubernetes cluster does:
https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

import json
import secrets
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.clock import Clock

ALGORITHM = "ES256"
LIFETIME = 3600  # seconds
KEYS_PATH = "/openid/v1/jwks"


class OidcIssuer:
    """Serves `app`; `requests` lists the path of every request that reached it, oldest first.

    Args:
        url: of the issuer: the `iss` of its tokens.
        now: the clock of the cloud.
    """

    def __init__(self, *, url: str, now: Clock) -> None:
        self.url = url
        self._now = now
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.requests: list[str] = []
        self.rotate()
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata, methods=["GET"]),
                Route(KEYS_PATH, self._published, methods=["GET"]),
            ]
        )

    def token(self, subject: str, *, audience: str, lifetime: float = LIFETIME) -> str:
        """Return a token, signed by the newest key."""
        issued = int(self._now())
        claims = {
            "aud": [audience],
            "exp": issued + int(lifetime),
            "iat": issued,
            "iss": self.url,
            "jti": str(uuid.uuid4()),
            "nbf": issued,
            "sub": subject,
        }
        key_id, key = list(self._keys.items())[-1]
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id, "typ": None})

    def rotate(self) -> None:
        """Sign by a new key from now on; the others stay published."""
        self._keys[secrets.token_urlsafe(16)] = ec.generate_private_key(ec.SECP256R1())

    def retire(self) -> None:
        """Publish the newest key alone."""
        key_id, key = self._keys.popitem()
        self._keys = {key_id: key}

    async def _metadata(self, request: Request) -> Response:
        self.requests.append(request.url.path)
        return JSONResponse(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}{KEYS_PATH}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            }
        )

    async def _published(self, request: Request) -> Response:
        self.requests.append(request.url.path)
        keys = [
            {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "use": "sig", "kid": key_id, "alg": ALGORITHM}
            for key_id, key in self._keys.items()
        ]
        return JSONResponse({"keys": keys})
