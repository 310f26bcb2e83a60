"""OpenTelemetry spans, for programs that have set it up. The library is not needed otherwise."""

import sys
from typing import TYPE_CHECKING

from flo._endpoints import Endpoint
from flo._observe import CallFinished
from flo._version import __version__
from flo.exceptions import FloError, ServerError, ValidationError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

_API = "opentelemetry.trace"


class CallTracer:
    """One span of kind CLIENT for each call, with the attributes of the database conventions.

    Neither keys nor values stand in it.
    """

    def __init__(self, tracer: "Tracer") -> None:
        # Here and not above: this class is made only where the library is there.
        from opentelemetry.trace import SpanKind, Status, StatusCode

        self._tracer = tracer
        self._kind = SpanKind.CLIENT
        self._failed = Status(StatusCode.ERROR)

    def start(self, operation: str, namespace: str | None) -> "Span":
        """Opens the span of a call, as a child of the caller's."""
        attributes: dict[str, AttributeValue] = {
            "db.system.name": "flo",
            "db.operation.name": operation,
        }
        if namespace is None:
            return self._tracer.start_span(operation, kind=self._kind, attributes=attributes)
        attributes["db.namespace"] = namespace
        name = f"{operation} {namespace}"
        return self._tracer.start_span(name, kind=self._kind, attributes=attributes)

    def end(self, span: "Span", event: CallFinished, peer: Endpoint | None) -> None:
        """Closes it. `peer` is the node that was asked last."""
        if span.is_recording():
            attributes: dict[str, AttributeValue] = {"flo.attempts": event.attempts}
            if peer is not None:
                attributes["server.address"] = peer.host
                attributes["server.port"] = peer.port
            if event.partition is not None:
                attributes["flo.partition"] = event.partition
            error = event.error
            if error is not None:
                attributes["error.type"] = (
                    error.code if isinstance(error, FloError) else type(error).__name__
                )
                if isinstance(error, ServerError):
                    attributes["db.response.status_code"] = error.status_code.name
                span.set_status(self._failed)
            span.set_attributes(attributes)
        span.end()


def find_tracer(wanted: bool | None) -> CallTracer | None:
    """The tracer to use. With None there is one if the program has set OpenTelemetry up by now.

    Raises ValidationError when it is wanted and the library is not installed.
    """
    if wanted is False:
        return None
    # Who has not imported the library cannot have set it up: importing it now would cost time for
    # nothing.
    if wanted is None and _API not in sys.modules:
        return None
    try:
        from opentelemetry import trace
    except ImportError as error:
        if wanted is None:
            return None
        raise ValidationError(
            "tracing=True needs OpenTelemetry: install opentelemetry-api"
        ) from error
    provider = trace.get_tracer_provider()
    if wanted is None and isinstance(
        provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider
    ):
        return None
    return CallTracer(trace.get_tracer("flo", __version__))
