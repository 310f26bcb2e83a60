"""The two ways the codec can fail: the peer's fault, and ours."""

from __future__ import annotations

from flo.wire.status import Ran, Reason, Refusal


class ProtocolError(ValueError):
    """The peer sent something it must not send.

    `refusal` is what to answer it (a server) or what it said (a client that was told so). `closes`
    says that the bytes can no longer be read as frames, or are not worth reading on.
    """

    def __init__(self, refusal: Refusal, *, closes: bool) -> None:
        super().__init__(f"{refusal.reason.name}: {refusal.message}")
        self.refusal = refusal
        self.closes = closes


class LocalProtocolError(ValueError):
    """We asked the codec for something the wire cannot carry; nothing was written."""


def unreadable(message: str) -> ProtocolError:
    """Bytes that do not parse: the connection ends with them."""
    return ProtocolError(Refusal(Reason.MALFORMED, Ran.NO, message), closes=True)


def refused(reason: Reason, message: str) -> ProtocolError:
    """A readable request outside the rules: it alone is refused, the connection goes on."""
    return ProtocolError(Refusal(reason, Ran.NO, message), closes=False)
