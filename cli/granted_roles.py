"""Which roles a right means: `.default` gives every role that the app registration has on the API.

They stand in a token of the same registration, tenant and scope, which an administrator with that right can get.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import httpx

from cli.differences import Right
from cli.http import NoAnswer, Question, Secret, json_object, send_all
from cli.token import claims_of
from shared.core.policy import Offer

NO_ADMIN = "not known: name a caller that may have such a token, by --as"


def roles_of(
    rights: Sequence[Right], *, app: str, secret: Secret | None, offers: Mapping[str, Offer]
) -> Mapping[Right, str]:
    """Return the roles of each right, or why they are not known.

    Args:
        rights: what callers gain.
        app: its address.
        secret: the key that asks; None where nobody was named.
        offers: what the profiles can be asked for.
    """
    if secret is None:
        return dict.fromkeys(rights, NO_ADMIN)
    answers = send_all([_question(right, app, secret, offers) for right in rights])
    return {right: _roles(right, answer, offers) for right, answer in zip(rights, answers, strict=True)}


def _question(right: Right, app: str, secret: Secret, offers: Mapping[str, Offer]) -> Question:
    form = {
        "grant_type": "client_credentials",
        "scope": right.scope,
        "tenant": right.tenant,
        "client_id": offers[right.profile].client_id,
    }
    return Question(httpx.Request("POST", f"{app}/api/token", data=form), secret)


def _roles(right: Right, answer: httpx.Response | NoAnswer, offers: Mapping[str, Offer]) -> str:
    if isinstance(answer, NoAnswer):
        return f"not known: {answer}"
    token = json_object(answer.content).get("access_token")
    if answer.status_code != HTTPStatus.OK or not isinstance(token, str):
        so = "; has the caller of --as this right itself?" if answer.status_code == HTTPStatus.BAD_REQUEST else ""
        return f"not known: the app answers {answer.status_code}{so}"
    claims = claims_of(token)
    if not claims:
        return "not known: the token is opaque, and only its API can read it"
    if claims.get("appid", claims.get("azp")) != offers[right.profile].client_id:
        return "not known: the token is of another app registration"
    roles = claims.get("roles")
    return ", ".join(map(str, roles)) if isinstance(roles, list) and roles else "none"
