"""The token endpoint as one would write it in an afternoon, and an empty function: what vend is compared with."""

import hashlib
import json
import logging
import os
import uuid
from functools import cache
from urllib.parse import parse_qs

import azure.functions as func
import msal
import requests

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
logger = logging.getLogger(__name__)
BODY = b"x" * 2_200
LINE = "x" * 400


@app.route(route="empty")
async def empty(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the binding names it
    """Answer nothing to whoever has a function key."""
    return func.HttpResponse()


@app.route(route="least")
async def least(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # as above
    """Answer as many bytes as a token has, and log as long a line, without any work."""
    logger.info("%s", LINE)
    return func.HttpResponse(BODY, mimetype="application/json", headers={"Cache-Control": "no-store"})


# No `async`: MSAL blocks, and Azure Functions runs such a function in its thread pool.
# https://learn.microsoft.com/azure/azure-functions/python-scale-performance-reference#async
@app.route(route="token")
def token(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with a token for the scope in the form."""
    return answered(req)


@app.route(route="blocking")
async def blocking(req: func.HttpRequest) -> func.HttpResponse:
    """Do the same on the event loop: quicker while the token is cached, and everybody waits while it is not."""
    return answered(req)


def answered(req: func.HttpRequest) -> func.HttpResponse:
    """Do the work."""
    form = parse_qs(req.get_body().decode())
    scope = form["scope"][0]
    correlation_id = str(uuid.uuid4())
    answer = client().acquire_token_for_client([scope])
    event = {
        "event": "token",
        "correlation_id": correlation_id,
        "caller": hashlib.sha256(req.headers["x-functions-key"].encode()).hexdigest()[:12],
        "scope": scope,
        "source": answer["token_source"],
        "token": hashlib.sha256(answer["access_token"].encode()).hexdigest()[:12],
    }
    logger.info("%s", json.dumps(event))
    body = {
        "token_type": "Bearer",
        "access_token": answer["access_token"],
        "expires_in": answer["expires_in"],
        "scope": scope,
        "correlation_id": correlation_id,
    }
    return func.HttpResponse(json.dumps(body), mimetype="application/json", headers={"Cache-Control": "no-store"})


@cache
def client() -> msal.ConfidentialClientApplication:
    """Keep one MSAL application per worker."""
    session = requests.Session()
    session.verify = os.environ["CA_FILE"]
    session.trust_env = False
    return msal.ConfidentialClientApplication(
        os.environ["CLIENT_ID"],
        authority=os.environ["AUTHORITY"],
        client_credential=os.environ["CLIENT_SECRET"],
        instance_discovery=False,
        http_client=session,
    )
