"""The triggers, and nothing else: an exception while this file is imported would take every function away."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


# No methods are listed, so that the app itself answers 405: for a method that is not listed the host answers 404.
@app.route(route="token")
async def token(req: func.HttpRequest) -> func.HttpResponse:
    """Vend a token to a caller."""
    from shared.runtime import runtime  # noqa: PLC0415  # at the first call: importing this file cannot fail
    from shared.vendor import Incoming  # noqa: PLC0415

    answer = await runtime().token(Incoming(req.method, req.url, req.headers, req.get_body()))
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


@app.timer_trigger(arg_name="timer", schedule="%GRAPH_SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True)
async def graph_sync(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host finds it by its name
    """Copy the directory."""
    from shared.runtime import runtime  # noqa: PLC0415

    await runtime().sync()
