"""The parts of the OpenAPI document that no code knows: how requests look, and what each field is for."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.api.answers import Answer
from shared.core.check import State
from shared.core.directory.order import FEWEST_SECONDS, MOST_SECONDS, USUAL_SECONDS
from shared.core.directory.streams import STREAMS
from shared.core.form import FIELD_LIMIT, FIELDS
from shared.core.identity_token import TOKEN_LIMIT
from shared.core.names import DEFAULT_SUFFIX, GUID, SCOPE_LIMIT, SCOPE_TOKEN, SHA256
from shared.core.request import ASSERTION_TYPE, BODY_LIMIT, OLDEST_API_VERSION
from shared.core.token import SHORTEST_REFRESH, TokenSource

type Part = dict[str, Any]

ROOT = Path(__file__).parents[1]
SCOPE = "https://graph.microsoft.com/.default"

_GUID_OR_NOTHING = f"^({GUID})?$"  # an empty field counts as not sent
# From OLDEST_API_VERSION on: JSON Schema compares no texts.
_SINCE_2019_08_01 = (
    "^(2019-(08-(0[1-9]|[1-9][0-9])|(09|[1-9][0-9])-[0-9]{2})|"
    "(20[2-9][0-9]|2[1-9][0-9]{2}|[3-9][0-9]{3})-[0-9]{2}-[0-9]{2})(-[a-z]+)?$"
)

INFO: Part = {
    "title": "vend",
    "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
    "summary": "Gives your services Microsoft Entra tokens without giving them the credential.",
    "description": "What to do about each error: docs/errors.md. Another method than the one that is listed is "
    "answered with 405. The platform has answers of its own, without JSON: 401 with an empty body where it knows no "
    "such function key, 404 for another path, 413 and 431 for what is far too large.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
SERVERS: list[Part] = [
    {
        "url": "https://{app}.azurewebsites.net",
        "variables": {"app": {"default": "vend", "description": "name of the function app"}},
    },
    {"url": "http://localhost:7071", "description": "make run"},
]
SECURITY: Mapping[str, Part] = {
    "function_key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "The caller's own host-scoped function key. Never in the URL.",
    },
    "identity_header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-IDENTITY-HEADER",
        "description": "The same key, where the Azure SDKs send IDENTITY_HEADER.",
    },
    "client": {
        "type": "http",
        "scheme": "basic",
        "description": "The caller's name and its key (RFC 6749 section 2.3.1).",
    },
    "identity_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of an issuer of vend.toml, beside any function key that the host accepts: it says who "
        "calls. A Bearer of anybody else is not looked at.",
    },
}
RETRY_AFTER: Part = {"$ref": "#/components/headers/Retry-After"}
HEADERS: Mapping[str, Part] = {
    "Cache-Control": {"required": True, "schema": {"const": "no-store"}},
    "Pragma": {"required": True, "schema": {"const": "no-cache"}},
    "X-Content-Type-Options": {"required": True, "schema": {"const": "nosniff"}},
    "Retry-After": {
        "required": True,
        "description": "Seconds until the same request can succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
}


def as_json(schema: Part, examples: Mapping[str, Answer]) -> Part:
    """Say that a body is JSON of some schema, as in these answers."""
    shown = {name: {"value": json.loads(answer.body)} for name, answer in examples.items()}
    return {"application/json": {"schema": schema, "examples": shown}}


def answer(description: str, content: Part, own: Mapping[str, Part] | None = None) -> Part:
    """Describe an answer; every one of the app has the headers that keep it out of caches."""
    always = ("Cache-Control", "Pragma", "X-Content-Type-Options")
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in always}
    return {"description": description, "headers": {**headers, **(own or {})}, "content": content}


def without_body(operation: Part) -> Part:
    """Describe the answers to HEAD by those to GET (RFC 9110 section 9.3.2)."""
    answers = operation["responses"].items()
    bare = {status: {name: part for name, part in told.items() if name != "content"} for status, told in answers}
    return {**operation, "operationId": f"{operation['operationId']}_head", "responses": bare}


def _form(own: Mapping[str, Part], example: Mapping[str, str], *, required: tuple[str, ...] = ()) -> Part:
    schema = {
        "type": "object",
        "description": f"At most {BODY_LIMIT} bytes and {FIELDS} fields; name and value of each at most {FIELD_LIMIT} "
        "bytes. A field is sent once; an empty one counts as not sent, an unknown one is ignored.",
        "properties": {**_FORM, **own},
        "required": ["grant_type", "scope", *required],
        "additionalProperties": {"type": "string"},
        "propertyNames": {"minLength": 1},
        "maxProperties": FIELDS,
    }
    example = {"grant_type": "client_credentials", "scope": SCOPE, **example}
    content = {"application/x-www-form-urlencoded": {"schema": schema, "example": example}}
    return {"required": True, "content": content}


def _refused(why: str) -> Part:
    return {"not": {}, "description": f"Refused: {why}."}


def _parameter(name: str, schema: Part, description: str, *, required: bool = False) -> Part:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


_REJECTED: Part = {
    "type": "string",
    "pattern": f"^({SHA256})?$",
    "description": "SHA-256 of a token that an API has rejected: if the cached one is that one, a new one is acquired.",
}
_FORM: Mapping[str, Part] = {
    "grant_type": {"const": "client_credentials"},
    "scope": {
        "type": "string",
        "maxLength": SCOPE_LIMIT,
        "pattern": f"^{SCOPE_TOKEN}{re.escape(DEFAULT_SUFFIX)}$",
        "description": "Exactly one `resource/.default`.",
    },
    "tenant": {
        "type": "string",
        "pattern": _GUID_OR_NOTHING,
        "description": "Directory (tenant) ID, for profiles with several; else the first of the caller's.",
    },
    "claims": {
        "type": "string",
        "maxLength": FIELD_LIMIT,
        "description": "The claims challenge of an API: JSON, or the base64 text of its `WWW-Authenticate` header. It "
        "may ask for `nbf`, `acrs` and `xms_rp_ipaddr` of the access token. The cache is bypassed.",
    },
    "token_sha256_to_refresh": _REJECTED,
    "resource": _refused("use `scope`"),
}
_NO_ASSERTION: Mapping[str, Part] = {"client_assertion": _refused("the function key is the only credential")}
_ASSERTION: Mapping[str, Part] = {
    "client_assertion": {
        "type": "string",
        "maxLength": TOKEN_LIMIT,
        "pattern": "^[A-Za-z0-9_.-]+$",
        "description": "An identity token of the caller: of an issuer of vend.toml, which the operator has put down.",
    },
    "client_assertion_type": {"type": "string", "description": f"Beside an assertion: `{ASSERTION_TYPE}`."},
}
FUNCTION_KEY_REQUEST: Part = {
    "summary": "Get an app-only access token (RFC 6749 section 4.4).",
    "security": [{"function_key": []}, {"function_key": [], "identity_token": []}],
    "requestBody": _form({**_NO_ASSERTION, "client_secret": _refused("the function key is the only credential")}, {}),
}
OAUTH_REQUEST: Part = {
    "summary": "The same for OAuth clients: name and key by HTTP Basic or in the form, or a client assertion.",
    "security": [{"client": []}, {}],
    "requestBody": _form(
        {
            "client_id": {
                "type": "string",
                "description": "The caller's name; beside a client assertion also the client ID of a profile, a GUID.",
            },
            "client_secret": {"type": "string", "description": "The caller's key; not beside HTTP Basic."},
            **_ASSERTION,
        },
        {"client_id": "billing", "client_secret": "its-function-key"},
    ),
}
_TENANT: Part = {
    "name": "tenant",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{GUID}$"},
    "description": "Directory (tenant) ID.",
}
ENTRA_REQUEST: Part = {
    "summary": "The same for clients of Entra with an identity token, such as WorkloadIdentityCredential and MSAL.",
    "description": "`https://VEND/api/entra` is their authority host. What stands in the query is ignored, but for "
    "secrets and for fields of the form, which are refused.",
    "security": [{}],
    "parameters": [_TENANT],
    "requestBody": _form(
        {
            **_ASSERTION,
            "client_assertion_type": {"const": ASSERTION_TYPE},
            "client_id": {"type": "string", "description": "The caller's name, or the client ID of a profile, a GUID."},
            "client_secret": _refused("client_secret or client_assertion, not both"),
        },
        {"client_id": "billing", "client_assertion_type": ASSERTION_TYPE, "client_assertion": "eyJhbGciOi..."},
        required=("client_assertion", "client_assertion_type"),
    ),
}
DISCOVERY_REQUEST: Part = {
    "summary": "What clients of Entra ask an authority first: where its token endpoint is.",
    "description": "The answer is made of the URL alone; it confirms no tenant.",
    "security": [{}],
    "parameters": [_TENANT],
}
MANAGED_IDENTITY_REQUEST: Part = {
    "summary": "The same in App Service's managed-identity protocol, for Azure SDKs.",
    "description": "https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference. "
    "`principal_id`, `object_id`, `mi_res_id` and `msi_res_id` are refused.",
    "security": [{"identity_header": []}],
    "parameters": [
        _parameter(
            "api-version",
            {"type": "string", "pattern": _SINCE_2019_08_01, "examples": [OLDEST_API_VERSION]},
            f"{OLDEST_API_VERSION} or a later one.",
            required=True,
        ),
        _parameter(
            "resource",
            {
                "type": "string",
                "maxLength": SCOPE_LIMIT - len(DEFAULT_SUFFIX),
                "pattern": f"^{SCOPE_TOKEN}$",
                "examples": ["https://graph.microsoft.com"],
            },
            "The API, with `/.default` behind it or without; a trailing slash may be meant, or not.",
            required=True,
        ),
        _parameter(
            "client_id", {"type": "string", "pattern": _GUID_OR_NOTHING}, "The app registration, if it matters which."
        ),
        _parameter("token_sha256_to_refresh", _REJECTED, "As in the form of the other routes."),
    ],
}
READINESS_REQUEST: Part = {
    "summary": "Whether the worker that answers can serve.",
    "description": "With any function key that the host accepts. `ready` and `degraded` are 200: docs/operations.md.",
    "security": [{"function_key": []}],
}
DOCTOR_REQUEST: Part = {
    "summary": "What is wrong with the worker that answers, for administrators.",
    "description": "With the function key of a caller that has `admin = true`: docs/operations.md.",
    "security": [{"function_key": []}],
}

SYNC_REQUEST: Part = {
    "summary": "Run the directory sync now, for administrators.",
    "description": "With the function key of a caller that has `admin = true`: docs/directory.md.",
    "security": [{"function_key": []}],
    "parameters": [
        {
            "name": "seconds",
            "in": "query",
            "description": "When the run begins no further page.",
            "schema": {"type": "integer", "minimum": FEWEST_SECONDS, "maximum": MOST_SECONDS, "default": USUAL_SECONDS},
        },
        {
            "name": "stream",
            "in": "query",
            "description": "The only stream to run; one of those that vend.toml names.",
            "schema": {"type": "string", "enum": list(STREAMS)},
        },
        {
            "name": "resync",
            "in": "query",
            "description": "Whether to begin a new copy.",
            "schema": {"type": "boolean", "default": False},
        },
        {
            "name": "accept_loss",
            "in": "query",
            "description": "The loss to believe, as `stream:kind:number`, if it is held back with this number still.",
            "schema": {"type": "string", "pattern": "^[A-Za-z]{1,32}:[A-Za-z_]{1,64}:[1-9][0-9]{0,8}$"},
        },
    ],
}

_CORRELATION_ID: Part = {
    "type": "string",
    "minLength": 1,
    "description": "Names this request in vend's log: give it to the operator.",
}
_SECRET: Part = {"type": "string", "minLength": 1}
_CODE: Part = {"type": "string", "description": "For programs: what to do."}
_TEXT: Part = {
    "type": "string",
    "pattern": r"^[\x20\x21\x23-\x5b\x5d-\x7e]+$",
    "description": "For people: it may change (RFC 6749 section 5.2).",
}


def _closed(description: str, properties: Part, *, optional: tuple[str, ...] = ()) -> Part:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_WORKER: Part = {"type": "string", "minLength": 1, "description": "The worker that answers, as in its events."}
_DIGEST: Part = {"type": ["string", "null"], "pattern": "^[0-9a-f]{12}$"}
_CALLERS = _closed(
    "Which callers document the worker goes by.",
    {
        "in_force": {**_DIGEST, "description": "First 12 hex digits of the SHA-256 of the document in force."},
        "newest": {**_DIGEST, "description": "The same of the newest one that was read, even if it was refused."},
        "refused": {"type": "integer", "minimum": 0, "description": "Callers that are refused or lack a grant."},
        "generation": {"type": ["integer", "null"], "description": "The highest one so far; it never goes down."},
    },
)
_CHECKS: Part = {
    "type": "array",
    "minItems": 1,
    "items": _closed(
        "One thing that it has looked at.",
        {
            "name": {"type": "string"},
            "state": {"enum": [state.value for state in State]},
            "detail": {"type": "string", "description": "For people: it may change."},
        },
    ),
}

SCHEMAS: Mapping[str, Part] = {
    "Authority": {
        "type": "object",
        "properties": {
            name: {"type": "string", "format": "uri"}
            for name in ("issuer", "token_endpoint", "authorization_endpoint", "jwks_uri")
        }
        | {
            name: {"type": "array", "items": {"type": "string"}}
            for name in (
                "response_types_supported",
                "subject_types_supported",
                "id_token_signing_alg_values_supported",
                "grant_types_supported",
                "token_endpoint_auth_methods_supported",
            )
        },
        "required": ["issuer", "token_endpoint", "authorization_endpoint", "jwks_uri"],
        "additionalProperties": False,
    },
    "Token": _closed(
        "RFC 6749 section 5.1.",
        {
            "token_type": {"const": "Bearer"},
            "access_token": _SECRET,
            "expires_in": {"type": "integer", "minimum": 0, "description": "Seconds that it can still be used."},
            "expires_on": {"type": "integer", "description": "Its end, in seconds since 1970, UTC."},
            "refresh_in": {
                "type": "integer",
                "minimum": SHORTEST_REFRESH,
                "description": "Seconds until vend expects to have a newer one.",
            },
            "scope": {"type": "string", "description": "As it was asked for."},
            "token_source": {"enum": [source.value for source in TokenSource]},
            "correlation_id": _CORRELATION_ID,
        },
    ),
    "Error": _closed(
        "RFC 6749 section 5.2.",
        {
            "error": _CODE,
            "error_description": _TEXT,
            "hint": {"type": "string", "pattern": r"^[\x20-\x7e]+$", "description": "What to change in the request."},
            "correlation_id": _CORRELATION_ID,
            "retryable": {"type": "boolean", "description": "Whether the same request can succeed later."},
        },
        optional=("hint",),
    ),
    "ManagedIdentityToken": _closed(
        "As App Service answers.",
        {
            "access_token": _SECRET,
            "expires_on": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "Its end, in seconds since 1970, UTC.",
            },
            "resource": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "client_id": {
                "type": "string",
                "pattern": f"^{GUID}$",
                "description": "The app registration that it is for.",
            },
            "correlationId": _CORRELATION_ID,
        },
    ),
    "ManagedIdentityError": _closed(
        "As App Service answers.",
        {
            "error": _CODE,
            "error_description": _TEXT,
            "correlationId": _CORRELATION_ID,
            "statusCode": {
                "type": "integer",
                "description": "The status again, for some SDKs.",
            },
            "message": {**_TEXT, "description": "The description and the id, for SDKs that show nothing else."},
        },
    ),
    "Readiness": _closed(
        "What the worker has found when it last looked at itself.",
        {
            "status": {"enum": ["ready", "degraded", "not_ready"]},
            "worker": _WORKER,
            "callers": _CALLERS,
            "checks": _CHECKS,
            "correlation_id": _CORRELATION_ID,
        },
    ),
    "Synced": _closed(
        "What one run of the sync did.",
        {
            "complete": {"type": "boolean", "description": "Whether every stream has read all that there was."},
            "streams": {
                "type": "array",
                "description": "One for each stream of each tenant.",
                "items": _closed(
                    "What the run did to one stream.",
                    {
                        "name": {"type": "string", "enum": list(STREAMS), "description": "The name of the stream."},
                        "tenant_id": {"type": "string", "format": "uuid", "description": "The tenant."},
                        "outcome": {
                            "enum": ["complete", "to be continued", "failed", "skipped"],
                            "description": "How the run ended for the stream.",
                        },
                        "phase": {
                            "enum": ["copy", "delta", None],
                            "description": "A copy, or the changes since the last round; null if nothing began.",
                        },
                        "pages": {"type": "integer", "minimum": 0, "description": "Pages that were stored."},
                        "changes": {"type": "integer", "minimum": 0, "description": "Changes on these pages."},
                        "rows": {"type": "integer", "minimum": 0, "description": "Rows that were written."},
                        "waiting_seconds": {
                            "type": "integer",
                            "minimum": 0,
                            "description": "How long Graph wants to be left alone.",
                        },
                        "held": {
                            "type": "object",
                            "description": "Losses of the copy that are not believed: how many, by their kind.",
                            "additionalProperties": {"type": "integer", "minimum": 1},
                        },
                        "cause": {
                            "type": ["string", "null"],
                            "description": "For people: why the run did not end well.",
                        },
                    },
                ),
            },
            "correlation_id": _CORRELATION_ID,
        },
    ),
    "Diagnosis": _closed(
        "What an administrator may know.",
        {
            "worker": _WORKER,
            "callers": _CALLERS,
            "mistakes": {
                "type": "array",
                "description": "Those of the newest callers document that was read, warnings too.",
                "items": _closed(
                    "One mistake.",
                    {
                        "at": {"type": "string", "description": "Its dotted key."},
                        "what": {"type": "string", "description": "For people: it may change."},
                    },
                ),
            },
            "credentials": {
                "type": "array",
                "description": "By which credential each profile proves itself.",
                "items": _closed(
                    "One profile.",
                    {
                        "profile": {"type": "string", "description": "Its name in `vend.toml`."},
                        "credential": {
                            "type": ["string", "null"],
                            "description": "Names the credential that is asked with first; null while none is known.",
                        },
                        "is_accepted": {
                            "type": "boolean",
                            "description": "Whether Entra has accepted it from this worker.",
                        },
                        "ends": {
                            "type": ["string", "null"],
                            "format": "date-time",
                            "description": "Its end; null where it has none, or none that is known.",
                        },
                        "resting": {
                            "type": "array",
                            "description": "Those that Entra refuses, or of which no proof could be made.",
                            "items": {"type": "string"},
                        },
                    },
                ),
            },
            "checks": _CHECKS,
            "correlation_id": _CORRELATION_ID,
        },
    ),
}
