"""A small app whose timers each show one thing that a host does; every run is a line of the log."""

import asyncio
import json
import logging

import azure.functions as func

app = func.FunctionApp()
door = asyncio.Event()


def tell(name: str, timer: func.TimerRequest) -> None:
    """Log what the function was given."""
    status = timer.schedule_status  # type: ignore[attr-defined]  # the annotation names the abstract class
    given = {"name": name, "past_due": timer.past_due, "schedule": timer.schedule, "status": status}  # type: ignore[attr-defined]
    logging.getLogger(__name__).info(json.dumps(given))


@app.timer_trigger(schedule="%HOURLY%", arg_name="timer")
async def hourly(timer: func.TimerRequest) -> None:
    """Have the schedule that a setting says."""
    tell("hourly", timer)


@app.timer_trigger(schedule="*/20 * * * * *", arg_name="timer", use_monitor=True)
async def dense(timer: func.TimerRequest) -> None:
    """Be due too often to be monitored."""
    tell("dense", timer)


@app.timer_trigger(schedule="0 0 5 * * *", arg_name="timer", use_monitor=False, run_on_startup=True)
async def eager(timer: func.TimerRequest) -> None:
    """Run at start too."""
    tell("eager", timer)


@app.timer_trigger(schedule="0 */10 * * * *", arg_name="timer", use_monitor=False)
async def slow(timer: func.TimerRequest) -> None:
    """Take until the door opens."""
    tell("slow", timer)
    await door.wait()


@app.timer_trigger(schedule="0 15 * * * *", arg_name="timer", use_monitor=False)
async def fails(timer: func.TimerRequest) -> None:
    """Raise."""
    tell("fails", timer)
    raise RuntimeError("not this time")


@app.timer_trigger(schedule="%NOWHERE%", arg_name="timer")
async def lost(timer: func.TimerRequest) -> None:
    """Have a schedule that nobody set."""
    tell("lost", timer)


@app.timer_trigger(schedule="often", arg_name="timer", run_on_startup=True)
async def vague(timer: func.TimerRequest) -> None:
    """Have a schedule that is none."""
    tell("vague", timer)


@app.route(route="plain")
async def plain(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding names it
    """Stand beside the timers."""
    return func.HttpResponse()
