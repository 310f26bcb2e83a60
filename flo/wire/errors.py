"""The two ways the codec can fail: the peer's fault, and ours."""

from __future__ import annotations

from typing import Literal, TypeAlias

from flo.wire.status import Ran, Reason, Refusal

# What about the bytes is wrong: no frame of ours, too long, damaged, a frame whose content does not
# parse, or anything else. "refused": nothing; the peer says so of ours, without naming a request.
Fault: TypeAlias = Literal["magic", "length", "checksum", "content", "other", "refused"]


class ProtocolError(ValueError):
    """The peer sent something it must not send.

    `refusal` is what to answer it (a server) or what it said (a client that was told so). `closes`
    says that the bytes can no longer be read as frames, or are not worth reading on.
    """

    def __init__(self, refusal: Refusal, *, closes: bool, fault: Fault = "other") -> None:
        super().__init__(f"{refusal.reason.name}: {refusal.message}")
        self.refusal = refusal
        self.closes = closes
        self.fault: Fault = fault


class LocalProtocolError(ValueError):
    """We asked the codec for something the wire cannot carry; nothing was written."""


def unreadable(message: str, fault: Fault = "content") -> ProtocolError:
    """Bytes that do not parse: the connection ends with them."""
    return ProtocolError(Refusal(Reason.MALFORMED, Ran.NO, message), closes=True, fault=fault)


def refused(reason: Reason, message: str) -> ProtocolError:
    """A readable request outside the rules: it alone is refused, the connection goes on."""
    return ProtocolError(Refusal(reason, Ran.NO, message), closes=False)
