"""What Schemathesis cannot know: which values policy allows. And one check more: the contract of every answer."""

import os
import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from emulator.tour.site import CALLER, SCOPE
from tests.contract import DOCUMENT, conforms

CHALLENGE = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}'
_FORM = DOCUMENT["paths"]["/api/oauth2/token"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"][
    "schema"
]
_QUERY = {each["name"]: each["schema"] for each in DOCUMENT["paths"]["/api/msi/token"]["get"]["parameters"]}
# By field: what has the right form, and what has the right value too.
_IN_FORM = {
    "scope": SCOPE,
    "tenant": TENANT_ID,
    "claims": CHALLENGE,
    "client_id": CALLER,
    "client_assertion": os.environ["VEND_TOKEN"],
}
_BESIDE_BASIC = ("client_secret", "client_assertion")
_TENANT = DOCUMENT["paths"]["/api/entra/{tenant}/oauth2/v2.0/token"]["post"]["parameters"][0]["schema"]["pattern"]
_IN_QUERY = {"resource": GRAPH, "client_id": CLIENT_ID}


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:  # noqa: ARG001
    """Put what policy allows in the place of what has the right form: a good request is served, a bad one stays bad."""
    if isinstance(case.body, dict):
        case.body = _allowed(case.body, _IN_FORM, _FORM["properties"])
        if case.path == "/api/oauth2/token":  # every request has HTTP Basic, and there may be one kind of credentials
            case.body = {name: value for name, value in case.body.items() if not _is_second(name, value)}
    if re.search(_TENANT, str(case.path_parameters.get("tenant", ""))):
        case.path_parameters["tenant"] = TENANT_ID
    if case.query:
        case.query = _allowed(case.query, _IN_QUERY, _QUERY)


@schemathesis.check
def keeps_the_contract(ctx: CheckContext, response: Response, case: Case[Any]) -> None:  # noqa: ARG001
    """Whatever was asked, the answer is one of the contract."""
    path = str(response.request.path_url).partition("?")[0]
    headers = {name: value for name, (value,) in response.headers.items()}
    method = str(response.request.method)
    faults = conforms(path, method, response.status_code, headers, response.content)
    assert faults == [], faults


def _is_second(name: str, value: object) -> bool:
    return name in _BESIDE_BASIC and isinstance(value, str)


def _allowed(fields: dict[str, Any], allowed: dict[str, str], schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        name: allowed[name]
        if value and name in allowed and isinstance(value, str) and re.search(schemas[name].get("pattern", ""), value)
        else value
        for name, value in fields.items()
    }
