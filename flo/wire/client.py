"""The client's side of a connection: requests in, bytes out; bytes in, answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flo.wire.answers import Call, decode_answer, decode_refusal
from flo.wire.errors import LocalProtocolError, ProtocolError, unreadable
from flo.wire.frames import (
    HEADER_BYTES,
    MAGIC,
    MAGIC_BYTES,
    RESPONSE_HEADER,
    TABLE_HASH,
    FrameBuffer,
    checksum,
    request_frame,
)
from flo.wire.payload import EMPTY_PAYLOAD, Payload, join_payload, join_table_payload
from flo.wire.registry import OP_OF_REQUEST, V2_TABLE_CODES
from flo.wire.status import Refusal, Status
from flo.wire.tlv import has_own_tag

if TYPE_CHECKING:
    from flo.wire.messages import Body, CallContext, Result
    from flo.wire.op import AnyCodec, Op

ANSWER_BYTES_MAX_DEFAULT = 64 << 20
OUTSTANDING_MAX_DEFAULT = 65_536

_PING = 0x000
_NO_MAGIC = "not the Flo protocol: a frame does not begin with its magic"


class Answer(NamedTuple):
    """What came back for a request of ours."""

    request_id: int
    result: Result | Refusal


def encode_request(
    revision: int, request_id: int, op: Op, body: Body, context: CallContext | None = None
) -> bytes:
    """The frame of a request of `op`.

    Raises `LocalProtocolError` for a field that does not fit, and for what the revision cannot say.
    """
    codec = _codec(revision, op)
    return _join_frame(revision, request_id, op, _payload(codec, body, context))


def _codec(revision: int, op: Op) -> AnyCodec:
    codec = op.v1 if revision == 1 else op.v2
    if codec is None:
        raise LocalProtocolError(f"revision {revision} has no {op.name}: send it as v1")
    return codec


def _payload(codec: AnyCodec, body: Body, context: CallContext | None) -> Payload:
    payload = codec.encode_request(body)
    if context is None:
        return payload
    return Payload(payload.namespace, payload.key, payload.value, payload.options, context)


def _join_frame(revision: int, request_id: int, op: Op, payload: Payload) -> bytes:
    if revision == 2:
        if payload.context is not None:
            raise LocalProtocolError(f"v2 cannot carry the context of {op.name}: send it as v1")
        if op.code in V2_TABLE_CODES:
            return request_frame(2, request_id, op.code, join_table_payload(payload))
    if payload is EMPTY_PAYLOAD and op.code == _PING:
        return request_frame(revision, request_id, op.code, b"")
    return request_frame(revision, request_id, op.code, join_payload(payload))


class ClientConnection:
    """Numbers requests, and matches the answers with them.

    Answers may come in any order. When the peer breaks the protocol, or says that it could not read
    us, `receive` raises `ProtocolError` and the connection is of no use any more: what is
    outstanding has an unknown outcome. Answers that arrived before the broken frame are still
    returned; the next call raises.
    """

    __slots__ = ("_buffer", "_calls", "_calls_max", "_data_bytes_max", "_failure", "_next_id")

    def __init__(
        self,
        *,
        max_frame_bytes: int = ANSWER_BYTES_MAX_DEFAULT,
        max_outstanding: int = OUTSTANDING_MAX_DEFAULT,
    ) -> None:
        self._buffer = FrameBuffer()
        self._data_bytes_max = max_frame_bytes - HEADER_BYTES
        self._calls: dict[int, Call] = {}
        self._calls_max = max_outstanding
        self._next_id = 1
        self._failure: ProtocolError | None = None

    @property
    def outstanding(self) -> int:
        """How many requests have no answer yet."""
        return len(self._calls)

    @property
    def buffered_bytes(self) -> int:
        """How much of an incomplete frame is held."""
        return len(self._buffer)

    @property
    def failure(self) -> ProtocolError | None:
        """Why the connection is of no use any more; None while it is."""
        return self._failure

    def request(
        self, body: Body, *, context: CallContext | None = None, revision: int = 1
    ) -> tuple[int, bytes]:
        """The id and the frame of a request; it is outstanding from now on.

        Raises `LocalProtocolError` as `encode_request` does, and when too many are outstanding.
        """
        if len(self._calls) >= self._calls_max:
            raise LocalProtocolError(
                f"{self._calls_max} requests are outstanding: wait for answers first"
            )
        op = OP_OF_REQUEST[type(body)]
        codec = _codec(revision, op)
        payload = _payload(codec, body, context)
        request_id = self._next_id
        frame = _join_frame(revision, request_id, op, payload)
        self._next_id = request_id + 1
        extended = context is not None or has_own_tag(payload.options)
        self._calls[request_id] = Call(revision, codec, body, extended)
        return request_id, frame

    def receive(self, data: bytes) -> list[Answer]:
        """Every answer that these bytes complete, in the order they came."""
        if self._failure is not None:
            raise self._failure
        answers: list[Answer] = []
        joined = self._buffer.join(data)
        if joined is None:
            return answers
        try:
            self._walk(joined, answers)
        except ProtocolError as error:
            self._failure = error
            if not answers:
                raise
        return answers

    def _walk(self, joined: bytes, answers: list[Answer]) -> None:
        view = memoryview(joined)
        size = len(joined)
        at = 0
        while size - at >= HEADER_BYTES:
            header = RESPONSE_HEADER.unpack_from(joined, at)
            magic, length, _, crc, _, _, _, _, _ = header
            start = at + HEADER_BYTES
            end = start + length
            if magic != MAGIC:
                raise unreadable(_NO_MAGIC, "magic")
            if length > self._data_bytes_max:
                raise unreadable(
                    f"answer of {length} bytes: at most {self._data_bytes_max}", "length"
                )
            if end > size:
                self._buffer.keep(joined, at, needed=end - at)
                return
            if checksum(view[at:end]) != crc:
                raise unreadable("the checksum of an answer does not match", "checksum")
            answers.append(self._read(header, joined[start:end]))
            at = end
        if at < size:
            if joined[at : at + 4] != MAGIC_BYTES[: size - at]:
                raise unreadable(_NO_MAGIC, "magic")
            self._buffer.keep(joined, at, needed=0)

    def _read(self, header: tuple[int, ...], data: bytes) -> Answer:
        """The answer in a frame whose length and checksum are good."""
        _, _, request_id, _, version, status, flags, padding, table = header
        if table != (TABLE_HASH if version == 2 else 0):
            raise unreadable(
                f"the server speaks the v{version} table 0x{table:016x}, we do not", "other"
            )
        if flags or padding or version not in (1, 2):
            raise unreadable(f"an answer of version {version} with flags 0x{flags:02x}", "other")
        if request_id == 0 and status != Status.OK:
            refusal = decode_refusal(version, status, data, extended=False)
            raise ProtocolError(refusal, closes=True, fault="refused")
        call = self._calls.pop(request_id, None)
        if call is None:
            raise unreadable(
                f"an answer to request {request_id}, which is not outstanding", "other"
            )
        if call.revision != version:
            raise unreadable(
                f"a v{version} answer to the v{call.revision} request {request_id}", "other"
            )
        return Answer(request_id, decode_answer(call, status, data))
