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


@app.route(route="empty")
async def empty(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the binding names it
    """Answer nothing to whoever has a function key."""
    return func.HttpResponse()


@app.route(route="token")
async def token(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with a token for the scope in the form."""
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
