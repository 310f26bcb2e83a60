"""What a client tells about itself: typed events, and lines of the logger "flo"."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from flo.stream_types import StreamID

_logger = logging.getLogger("flo")


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call returned or raised.

    `operation` is its name, such as "kv.put". `partition` is None for calls about none or several,
    `endpoint`, the node asked last, for those that never got to one. With `outcome` "ok" there is
    no `error`; a missing key that was read is "ok" too. `error` is also what cancelled the call.
    """

    operation: str
    namespace: str | None
    partition: int | None
    endpoint: str | None
    attempts: int
    duration_ms: float
    outcome: Literal["ok", "not_applied", "unknown"]
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class CallRetried:
    """A call is going to be tried again after `pause_ms`; `cause` is why the last try failed."""

    operation: str
    partition: int | None
    endpoint: str | None
    attempts: int
    pause_ms: float
    cause: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to a node was opened, which took `duration_ms`."""

    endpoint: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A node could not be reached, for the `failures`th time in a row."""

    endpoint: str
    cause: str
    failures: int
    retry_in_ms: float


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection ended; `unanswered` requests were lost with it."""

    endpoint: str
    cause: str
    unanswered: int


@dataclass(frozen=True, slots=True)
class RecordHandled:
    """A handler of a stream worker returned, or did not: then `error` says why."""

    stream: str
    group: str
    id: StreamID
    duration_ms: float
    error: Exception | None


ClientEvent: TypeAlias = (
    CallFinished | CallRetried | Connected | ConnectFailed | Disconnected | RecordHandled
)

ClientObserver: TypeAlias = Callable[[ClientEvent], None]
"""Called with each event, in the client's event loop: it must return quickly and not block."""


class Reporter:
    """Tells the observer, if there is one, and logs what is about retries and connections."""

    def __init__(self, observer: ClientObserver | None = None) -> None:
        self.observer = observer

    def report(self, event: ClientEvent) -> None:
        """Never raises: what goes wrong in an observer is logged."""
        _log(event)
        if self.observer is None:
            return
        try:
            self.observer(event)
        except Exception:  # A program's mistake in watching must not change what calls do.
            _logger.exception("the observer raised for %s", event)


def _log(event: ClientEvent) -> None:
    if isinstance(event, CallFinished | RecordHandled):
        return
    level = logging.DEBUG if isinstance(event, CallRetried) else logging.INFO
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", _text(event), extra=_extra(event))


def _text(event: CallRetried | Connected | ConnectFailed | Disconnected) -> str:
    match event:
        case CallRetried(operation, partition, endpoint, attempts, pause_ms, cause):
            where = "" if partition is None else f" on partition {partition}"
            return (
                f"{operation}{where}: try {attempts} at {endpoint} failed ({cause}),"
                f" the next one in {pause_ms:.0f} ms"
            )
        case Connected(endpoint, duration_ms):
            return f"connected to {endpoint} in {duration_ms:.1f} ms"
        case ConnectFailed(endpoint, cause, failures, retry_in_ms):
            return (
                f"could not connect to {endpoint} ({cause}), {failures} times in a row; not again"
                f" for {retry_in_ms:.0f} ms"
            )
        case Disconnected(endpoint, cause, unanswered):
            return f"{endpoint}: {cause}; {unanswered} requests were not answered"


def _extra(event: ClientEvent) -> dict[str, object]:
    """The event as fields of a log record, whose own names must not be taken."""
    values = {f"flo_{each.name}": getattr(event, each.name) for each in fields(event)}
    return {"flo_event": type(event).__name__, **values}
