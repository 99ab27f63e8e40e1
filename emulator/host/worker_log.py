"""The way of a log line from a Python worker to the reader of the host's log.

The worker sends the formatted message and nothing else: `extra` is lost. The host takes a line only while the
invocation it names is running: a line of a background task that outlives its invocation, or of a plain thread, is
dropped. Source: `on_logging` in https://github.com/Azure/azure-functions-python-worker.
"""

import asyncio
import logging
from collections.abc import Callable

from azure_functions_runtime import invocation_id_cv
from azure_functions_runtime.bindings.context import _invocation_id_local as thread_local

# The levels of `logging.logLevel` in host.json.
LEVELS = {
    "trace": logging.NOTSET,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


class WorkerLog(logging.Handler):
    """The root logger's handler inside a worker."""

    def __init__(self, sink: Callable[[str], object], level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._running: set[str] = set()
        self.dropped_lines = 0

    def attach(self, *, debug: bool) -> None:
        """Listen at the root logger, at the level that the worker gives it."""
        root = logging.getLogger()
        self._former_level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG if debug else logging.INFO)

    def detach(self) -> None:
        """Leave the root logger as it was."""
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._former_level)

    def begin(self, invocation: str) -> None:
        """Take lines of this invocation from here on."""
        self._running.add(invocation)

    def end(self, invocation: str) -> None:
        """Drop lines of this invocation from here on."""
        self._running.discard(invocation)

    def tell(self, line: str) -> None:
        """Write a line of the host's own."""
        self.acquire()
        try:
            self._write(logging.makeLogRecord({"msg": line}))
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on, or drop it; `logging` holds the handler's lock meanwhile."""
        if self._is_wanted(record):
            self._write(record)

    def _is_wanted(self, record: logging.LogRecord) -> bool:
        # The server is the host's, and so are its troubles; the runtime's lines go to a log that no user reads.
        if record.name.startswith("uvicorn"):
            return record.levelno >= logging.WARNING
        if record.name.startswith("azure.functions"):
            return False
        if _invocation() in self._running:
            return True
        self.dropped_lines += 1
        return False

    def _write(self, record: logging.LogRecord) -> None:
        try:
            self._sink(self.format(record))
        except Exception:  # noqa: BLE001 - logging never raises into the code that logs
            self.handleError(record)


def _invocation() -> str | None:
    """Name the invocation that the running code belongs to."""
    found: str | None = invocation_id_cv.get()
    if found:
        return found
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Set by the runtime in its own threads, and by apps in theirs: https://aka.ms/azfunc-invocation-context
        return getattr(thread_local, "invocation_id", None)
    # On the loop's thread it only names whichever invocation began last.
    return None
