"""Tells the program's observer and tracer about each call."""

import asyncio
from collections.abc import Coroutine
from typing import Literal

from flo._call import Call
from flo._observe import CallFinished, Reporter
from flo._tracing import CallTracer
from flo.exceptions import FloError, NotFoundError
from flo.wire.messages import KvGet, Result
from flo.wire.status import Reason


class CallWatch:
    """Made only where somebody wants to know, since each call then costs more."""

    def __init__(self, reporter: Reporter, tracer: CallTracer | None) -> None:
        self._reporter = reporter
        self._tracer = tracer
        self._loop = asyncio.get_running_loop()

    async def watch(self, call: Call, work: Coroutine[None, None, Result]) -> Result:
        """What the work gives or raises."""
        span = None if self._tracer is None else self._tracer.start(call.operation, call.namespace)
        began = self._loop.time()
        error: BaseException | None = None
        try:
            return await work
        except BaseException as raised:
            error = None if _is_answer(call, raised) else raised
            raise
        finally:
            duration_ms = (self._loop.time() - began) * 1000
            event = CallFinished(
                call.operation,
                call.namespace,
                call.partition,
                call.endpoint,
                call.attempts,
                duration_ms,
                _outcome(call, error),
                error,
            )
            if self._reporter.observer is not None:
                self._reporter.report(event)
            if self._tracer is not None and span is not None:
                peer = None if call.channel is None else call.channel.endpoint
                self._tracer.end(span, event, peer)


def _is_answer(call: Call, error: BaseException) -> bool:
    """A get that finds nothing returns None: the refusal is its answer."""
    return (
        isinstance(call.body, KvGet)
        and isinstance(error, NotFoundError)
        and error.reason is Reason.NOT_FOUND
    )


def _outcome(call: Call, error: BaseException | None) -> Literal["ok", "not_applied", "unknown"]:
    if error is None:
        return "ok"
    if isinstance(error, FloError):
        return error.outcome
    # Cancelled: whatever was sent may still run.
    sent = call.channel is not None
    return "unknown" if call.is_write and sent else "not_applied"
