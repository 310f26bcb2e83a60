"""Whole answers: a result or a refusal as a frame, and back.

Three forms of refusal. v2: `reason:u16 ran:u8 message`. Plain v1, for the official clients: the
message alone, and nothing at all with "not found", because they parse that body as a result.
Extended v1, for a request that carried one of our tags: the v2 form, with "not found" too.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from flo.wire.errors import LocalProtocolError, unreadable
from flo.wire.frames import response_frame
from flo.wire.status import Ran, Reason, Refusal, Status

if TYPE_CHECKING:
    from flo.wire.codec import Codec
    from flo.wire.messages import Body, Result
    from flo.wire.op import Op

_REASON_RAN = Struct("<HB")

_STATUS_OF_BYTE = {int(status): status for status in Status}
_REASONS = frozenset(int(reason) for reason in Reason)
_RANS = frozenset(int(ran) for ran in Ran)

# How v1 says the result `Codec.missing`. The command did run: it found nothing to do.
_MISSING = Refusal(Reason.NOT_FOUND, Ran.YES, "")

_REASON_OF_V1_STATUS = {
    Status.NOT_FOUND: Reason.NOT_FOUND,
    Status.CROSS_SHARD_TRANSACTION: Reason.WRONG_ROUTING_KEY,
    Status.NO_ACTIVE_TRANSACTION: Reason.NO_SUCH_TRANSACTION,
}
_V1_STATUS_NOT_RUN = frozenset(
    (
        Status.NOT_FOUND,
        Status.BAD_REQUEST,
        Status.CROSS_SHARD_TRANSACTION,
        Status.NO_ACTIVE_TRANSACTION,
        Status.UNAUTHORIZED,
        Status.CONFLICT,
    )
)


def encode_answer(
    revision: int,
    request_id: int,
    op: Op,
    answer: Result | Refusal,
    *,
    extended: bool = False,
) -> bytes:
    """The frame that answers a request of `op`. `extended` is the request's.

    Raises `LocalProtocolError` for a result that the revision cannot say.
    """
    if isinstance(answer, Refusal):
        return encode_refusal(revision, request_id, answer, extended=extended)
    codec = op.v1 if revision == 1 else op.v2
    if codec is None:
        raise LocalProtocolError(f"revision {revision} has no {op.name}: it cannot be answered")
    if codec.missing is not None and answer == codec.missing:
        return encode_refusal(revision, request_id, _MISSING, extended=extended)
    encode = codec.encode_extended if extended else None
    data = codec.encode_result(answer) if encode is None else encode(answer)
    return response_frame(revision, request_id, Status.OK, data)


def encode_refusal(
    revision: int, request_id: int, refusal: Refusal, *, extended: bool = False
) -> bytes:
    """The frame that refuses a request, or with request id 0 the connection."""
    message = refusal.message.encode()
    if revision == 2:
        official = refusal.reason <= Reason.WORKER_DRAINING
        # An SDK takes a reason it does not know for a broken answer.
        reason = refusal.reason if official else Reason.UNCLASSIFIED
        data = _REASON_RAN.pack(reason, refusal.ran) + message
        return response_frame(2, request_id, refusal.status, data)
    status = refusal.v1_status
    if extended:
        data = _REASON_RAN.pack(refusal.reason, refusal.ran) + message
    else:
        data = b"" if status is Status.NOT_FOUND else message
    return response_frame(1, request_id, status, data)


class Call(NamedTuple):
    """A request that waits for its answer, with what is needed to read it."""

    revision: int
    codec: Codec[Body, Result]
    body: Body
    extended: bool


def decode_answer(call: Call, status: int, data: bytes) -> Result | Refusal:
    """The result or refusal in an answer. Raises `ProtocolError` when it does not parse."""
    if status == Status.OK:
        return call.codec.decode_result(data, call.body)
    refusal = decode_refusal(call.revision, status, data, extended=call.extended)
    if call.codec.missing is not None and refusal.reason is Reason.NOT_FOUND:
        return call.codec.missing
    return refusal


def decode_refusal(revision: int, status: int, data: bytes, *, extended: bool) -> Refusal:
    """The refusal in an answer that is not OK. Raises `ProtocolError` when it is cut short."""
    known = _STATUS_OF_BYTE.get(status, Status.GENERIC_ERROR)
    if revision == 1 and not extended:
        return _plain_refusal(known, data)
    if len(data) < _REASON_RAN.size:
        raise unreadable(f"a refusal of {len(data)} bytes: at least {_REASON_RAN.size} expected")
    reason, ran = _REASON_RAN.unpack_from(data)
    if reason not in _REASONS or ran not in _RANS:
        raise unreadable(f"a refusal with the unknown reason {reason} or ran {ran}")
    refusal = Refusal(Reason(reason), Ran(ran), _text(data[_REASON_RAN.size :]))
    if known in (refusal.status, refusal.v1_status):
        return refusal
    return refusal._replace(wire_status=known)


def _plain_refusal(status: Status, data: bytes) -> Refusal:
    """What can be known from a status and a message alone."""
    reason = _REASON_OF_V1_STATUS.get(status, Reason.UNCLASSIFIED)
    ran = Ran.NO if status in _V1_STATUS_NOT_RUN else Ran.UNKNOWN
    return Refusal(reason, ran, _text(data), status if reason is Reason.UNCLASSIFIED else None)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
