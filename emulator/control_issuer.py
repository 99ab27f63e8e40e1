"""The issuer that is not Entra, by the control API of the local cloud.

POST   /issuer/tokens   {"subject": ..., "audience": ..., "lifetime_seconds": 3600}; the answer has the token
POST   /issuer/rotate   sign by a new key from now on
POST   /issuer/retire   publish the newest key alone
"""

from collections.abc import Mapping

from starlette.routing import Route

from emulator.control_verb import answering, number, text
from emulator.issuer.app import LIFETIME, OidcIssuer

type Body = Mapping[str, object]
type Path = Mapping[str, str]


class IssuerControl:
    """Has the `routes` that have one issuer give out tokens and change its keys."""

    def __init__(self, issuer: OidcIssuer) -> None:
        self._issuer = issuer
        self.routes = [
            Route("/issuer/tokens", answering(self._token), methods=["POST"]),
            Route("/issuer/rotate", answering(self._rotate), methods=["POST"]),
            Route("/issuer/retire", answering(self._retire), methods=["POST"]),
        ]

    def _token(self, _path: Path, body: Body) -> Body:
        lifetime = number({"lifetime_seconds": LIFETIME, **body}, "lifetime_seconds")
        subject, audience = text(body, "subject"), text(body, "audience")
        return {"token": self._issuer.token(subject, audience=audience, lifetime=lifetime)}

    def _rotate(self, _path: Path, _body: Body) -> None:
        self._issuer.rotate()

    def _retire(self, _path: Path, _body: Body) -> None:
        self._issuer.retire()
