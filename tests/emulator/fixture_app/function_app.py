"""A small app whose functions each show one thing that a host does."""

import asyncio
import json
import logging
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
logger = logging.getLogger(__name__)
released = asyncio.Event()
late: set[asyncio.Task[None]] = set()


@app.route(route="empty", auth_level=func.AuthLevel.ANONYMOUS)
async def empty(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding names it
    """Answer nothing."""
    return func.HttpResponse()


@app.route(route="guarded")
async def guarded(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Answer nothing to whoever has a function key."""
    return func.HttpResponse()


@app.route(route="neighbour")
async def neighbour(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Have keys of its own."""
    return func.HttpResponse()


@app.route(route="inner", auth_level=func.AuthLevel.ADMIN)
async def inner(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Answer nothing to whoever has the master key."""
    return func.HttpResponse()


@app.route(route="echo/{id:int?}", auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Show the request as Python sees it."""
    seen = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route_params": dict(req.route_params),
        "body": req.get_body().hex(),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="files/{*rest}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def files(req: func.HttpRequest) -> str:
    """Answer a plain string."""
    return f"file {req.route_params.get('rest')}"


@app.route(route="files/special", methods=["GET"])
async def special(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Stand beside a wider route that anyone may use."""
    return func.HttpResponse()


@app.route(route="cookies", auth_level=func.AuthLevel.ANONYMOUS)
async def cookies(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Answer with a status, headers and cookies of its own."""
    answer = func.HttpResponse(b"\x00\xff", status_code=418, headers={"X-Kind": "teapot"})
    answer.headers.add("Set-Cookie", "a=1; Path=/")
    answer.headers.add("Set-Cookie", "b=2; Path=/; HttpOnly")
    return answer


@app.route(route="nothing", auth_level=func.AuthLevel.ANONYMOUS)
async def nothing(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Answer with a body where HTTP allows none."""
    return func.HttpResponse("too much", status_code=204)


@app.route(route="fails", auth_level=func.AuthLevel.ANONYMOUS)
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    """Raise."""
    raise RuntimeError(f"do not show this to {req.method}")


@app.route(route="logs", auth_level=func.AuthLevel.ANONYMOUS)
async def logs(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Log in every way that meets a different fate."""
    logger.info("inside %s", "async", extra={"colour": "never seen"})
    logger.debug("below the level")
    await asyncio.to_thread(logger.info, "inside a thread that has the context")
    thread = threading.Thread(target=logger.info, args=("from a plain thread",))
    thread.start()
    thread.join()

    async def later() -> None:
        await released.wait()
        logger.info("after the invocation")

    late.add(asyncio.create_task(later()))
    return func.HttpResponse()


@app.route(route="release", auth_level=func.AuthLevel.ANONYMOUS)
async def release(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Let the late lines be logged, while this invocation runs."""
    released.set()
    await asyncio.gather(*late)
    late.clear()
    released.clear()
    return func.HttpResponse()


@app.route(route="synclogs", auth_level=func.AuthLevel.ANONYMOUS)
def synclogs(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Log from one of the worker's threads."""
    logger.warning("inside sync")
    return func.HttpResponse()


@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
async def tick(timer: func.TimerRequest) -> None:
    """Be listed, and not be served over HTTP."""
