"""The triggers, and nothing else: an exception while this file is imported would take every function away."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


# No methods are listed, so that the app itself answers 405: for a method that is not listed the host answers 404.
@app.route(route="token")
async def token(req: func.HttpRequest) -> func.HttpResponse:
    """Vend a token to a caller whose function key the host has checked."""
    return await _answer("token", req)


# Anonymous, because the host would look for the key where these protocols do not put it: the app alone checks it.
@app.route(route="msi/token", auth_level=func.AuthLevel.ANONYMOUS)
async def msi_token(req: func.HttpRequest) -> func.HttpResponse:
    """Vend a token to an Azure SDK that takes vend for App Service's managed-identity endpoint."""
    return await _answer("msi/token", req)


@app.route(route="oauth2/token", auth_level=func.AuthLevel.ANONYMOUS)
async def oauth2_token(req: func.HttpRequest) -> func.HttpResponse:
    """Vend a token to an OAuth client that proves itself by name and key."""
    return await _answer("oauth2/token", req)


@app.route(route="entra/{tenant}/oauth2/v2.0/token", auth_level=func.AuthLevel.ANONYMOUS)
async def entra_token(req: func.HttpRequest) -> func.HttpResponse:
    """Vend a token to a client of Entra that proves itself by an identity token."""
    return await _answer("entra/{tenant}/oauth2/v2.0/token", req)


@app.route(route="entra/{tenant}/v2.0/.well-known/openid-configuration", auth_level=func.AuthLevel.ANONYMOUS)
async def entra_discovery(req: func.HttpRequest) -> func.HttpResponse:
    """Tell a client of Entra where to ask for tokens."""
    return await _answer("entra/{tenant}/v2.0/.well-known/openid-configuration", req)


@app.route(route="health/ready")
async def ready(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether this worker can serve."""
    return await _answer("health/ready", req)


@app.route(route="doctor")
async def doctor(req: func.HttpRequest) -> func.HttpResponse:
    """Tell an administrator what is wrong."""
    return await _answer("doctor", req)


@app.route(route="sync")
async def sync(req: func.HttpRequest) -> func.HttpResponse:
    """Copy the directory for an administrator."""
    return await _answer("sync", req)


@app.timer_trigger(arg_name="timer", schedule="%GRAPH_SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True)
async def graph_sync(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host finds it by its name
    """Copy the directory."""
    from shared.runtime import runtime  # noqa: PLC0415

    await runtime().jobs["graph_sync"]()


@app.timer_trigger(arg_name="timer", schedule="%CERTIFICATE_ROTATION_SCHEDULE%", run_on_startup=False, use_monitor=True)
async def certificate_rotation(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host finds it by its name
    """Register new versions of certificates."""
    from shared.runtime import runtime  # noqa: PLC0415

    await runtime().jobs["certificate_rotation"]()


async def _answer(route: str, req: func.HttpRequest) -> func.HttpResponse:
    from shared.core.request import Incoming  # noqa: PLC0415  # at the first call: importing this file cannot fail
    from shared.runtime import runtime  # noqa: PLC0415

    answer = await runtime().routes[route](Incoming(req.method, req.url, req.headers, req.get_body()))
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))
