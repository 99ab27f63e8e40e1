"""One Python worker: a function app loaded and run by Microsoft's own `azure-functions-runtime`.

What the real host says to the worker over gRPC is said here by plain calls: index the app, list its functions, invoke
one. The runtime keeps its state in module globals, so a process has one worker at a time.
"""

import importlib
import json
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from azure_functions_runtime import (
    functions_metadata_request,
    start_threadpool_executor,
    stop_threadpool_executor,
    worker_init_request,
)
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

from emulator.host.worker_log import WorkerLog

APP_MODULE = "function_app"


class _StatusResult(SimpleNamespace):
    Failure, Success = 0, 1


class _BindingInfo(SimpleNamespace):
    in_, out, inout = 0, 1, 2
    undefined = 0


# The runtime fills these in and hands them back; it asks no more of them than attributes.
MESSAGES = SimpleNamespace(
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
    FunctionMetadataResponse=SimpleNamespace,
    RpcException=SimpleNamespace,
    RpcFunctionMetadata=SimpleNamespace,
    RpcRetryOptions=SimpleNamespace,
    WorkerInitResponse=SimpleNamespace,
    WorkerMetadata=SimpleNamespace,
)


class InvocationFailedError(Exception):
    """A function raised, or returned what its binding can not carry; the log has the reason."""


@dataclass(frozen=True)
class Function:
    """One indexed function; `binding` is its trigger as function.json would have it."""

    name: str
    id: str
    binding: Mapping[str, Any] = field(hash=False)

    @property
    def trigger(self) -> str:
        """The kind of trigger, such as `httpTrigger`."""
        return str(self.binding["type"])


class Worker:
    """Holds one loaded app; `functions` is empty when the app could not be indexed."""

    def __init__(self, app_dir: Path, log: WorkerLog) -> None:
        self._path = str(app_dir)
        self._log = log
        self.functions: dict[str, Function] = {}

    async def start(self) -> Self:
        """Load the app; one that can not be loaded leaves the log a reason and no functions, as in Azure."""
        sys.modules.pop(APP_MODULE, None)
        sys.path.insert(0, self._path)
        importlib.invalidate_caches()
        start_threadpool_executor()
        init = SimpleNamespace(capabilities={}, function_app_directory=self._path)
        request = SimpleNamespace(
            request=SimpleNamespace(worker_init_request=init), properties={"host": "127.0.0.1", "protos": MESSAGES}
        )
        started = await worker_init_request(request)
        if started.result.status != _StatusResult.Success:
            error = started.result.exception
            self._log.tell(f"The function app could not be indexed: {error.message}\n{error.stack_trace}")
            return self
        indexed = await functions_metadata_request(request)
        for found in indexed.function_metadata_results or []:
            self.functions[found.name] = Function(found.name, found.function_id, _trigger(found.raw_bindings))
        if not self.functions:
            self._log.tell(f"No functions were found in {self._path}")
        return self

    def stop(self) -> None:
        """Let go of the app, so that the process can load another."""
        stop_threadpool_executor()
        sys.modules.pop(APP_MODULE, None)
        if self._path in sys.path:
            sys.path.remove(self._path)

    async def run(self, function: Function, trigger: Datum) -> Datum:
        """Invoke a function of any trigger kind with what triggered it.

        Raises:
            InvocationFailedError: there is no result.
        """
        invocation = str(uuid.uuid4())
        self._log.begin(invocation)
        try:
            done, returned, _, _, trace = await invocation_request_native(
                invocation, function.id, [(function.binding["name"], trigger)], {}
            )
        finally:
            self._log.end(invocation)
        if not done:
            self._log.tell(f"Executed 'Functions.{function.name}' (Failed, Id={invocation})\n{trace}")
            raise InvocationFailedError(function.name)
        return returned


def _trigger(raw_bindings: list[str]) -> dict[str, Any]:
    """Pick the trigger, of which every function has exactly one."""
    bindings: list[dict[str, Any]] = [json.loads(raw) for raw in raw_bindings]
    return next(binding for binding in bindings if str(binding["type"]).lower().endswith("trigger"))
