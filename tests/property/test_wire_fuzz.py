"""Bytes from outside, however broken, make requests, rejections or typed errors, nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flo.wire import (
    Answer,
    Body,
    CallContext,
    ClientConnection,
    KvGet,
    KvHistory,
    KvJsonDelete,
    KvMget,
    KvScan,
    PartitionTableRequest,
    ProtocolError,
    Rejected,
    Request,
    ServerConnection,
    TxnBegin,
    TxnCommit,
)
from flo.wire.frames import CRC_AT, CRC_END, HEADER_BYTES, checksum
from flo.wire.queue_messages import (
    QueueDequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueuePurge,
    QueueStats,
)
from tests.property import wire_streams
from tests.unit.wire.vectors import OWN, REQUESTS, RESPONSES

FRAME_BYTES_MAX = 4096
FRAMES = [f for v in (*REQUESTS, *RESPONSES, *OWN) if v.revision > 0 for f in v.frames]


def sealed(frame: bytes) -> bytes:
    """With the length and checksum that fit, so that a broken frame gets past them."""
    if len(frame) < HEADER_BYTES:
        return frame
    whole = bytearray(frame)
    whole[4:8] = (len(frame) - HEADER_BYTES).to_bytes(4, "little")
    whole[CRC_AT:CRC_END] = checksum(memoryview(whole)).to_bytes(4, "little")
    return bytes(whole)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real frame with a few bytes changed, put in or cut, most often with a good checksum."""
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        change = draw(st.sampled_from(("replace", "insert", "cut")))
        if change == "replace":
            frame[at] = draw(st.integers(0, 255))
        elif change == "insert":
            frame[at:at] = draw(st.binary(max_size=8))
        elif len(frame) > 1:
            del frame[at]
    return sealed(bytes(frame)) if draw(st.integers(0, 3)) else bytes(frame)


STREAMS = st.lists(mutated() | st.binary(max_size=60), min_size=1, max_size=6).map(b"".join)
SIZES = st.integers(1, 400)


@given(STREAMS, SIZES)
def test_a_server_never_raises_and_holds_one_frame_at_most(data: bytes, size: int) -> None:
    server = ServerConnection(max_frame_bytes=FRAME_BYTES_MAX)
    pieces: list[Request | Rejected] = []
    for at in range(0, len(data), size):
        pieces += server.receive(data[at : at + size])
        assert server.buffered_bytes <= FRAME_BYTES_MAX + size
    for item in pieces:
        if isinstance(item, Rejected):
            answer = item.encode()
            assert answer or item.close
    assert [item.close for item in pieces[:-1] if isinstance(item, Rejected)].count(True) == 0
    assert pieces == ServerConnection(max_frame_bytes=FRAME_BYTES_MAX).receive(data)


OWN_CALL = CallContext(deadline_ms=1000)
# What the client waits for an answer to, numbered from 1.
CALLS: tuple[tuple[Body, int, CallContext | None], ...] = (
    (KvGet(b"default", b"k"), 1, None),
    (KvMget(b"default", (b"a", b"b", b"c")), 2, None),
    (KvScan(b"default", b""), 1, OWN_CALL),
    (PartitionTableRequest(), 1, OWN_CALL),
    (KvHistory(b"default", b"k"), 1, None),
    (KvHistory(b"default", b"k"), 2, None),
    (KvJsonDelete(b"default", b"k"), 1, None),
    (KvJsonDelete(b"default", b"k"), 2, None),
    (TxnBegin(b"default", b"r"), 1, None),
    (TxnBegin(b"default", b"r"), 2, None),
    (TxnCommit(b"default", None, 7), 1, None),
    (TxnCommit(b"default", None, 7), 2, None),
    (QueueDequeue(b"default", b"q"), 1, OWN_CALL),
    (QueueDequeue(b"default", b"q"), 2, None),
    (QueueEnqueue(b"default", b"q", b"m"), 1, None),
    (QueueEnqueueBatch(b"default", b"q", (QueueItem(b"m"),)), 1, OWN_CALL),
    (QueueList(b"default"), 1, OWN_CALL),
    (QueueStats(b"default", b"q"), 1, OWN_CALL),
    (QueuePurge(b"default", b"q"), 1, OWN_CALL),
    *((body, revision, None) for body in wire_streams.CALLS for revision in (1, 2)),
    *((body, 1, OWN_CALL) for body in wire_streams.CALLS_V1),
)
IDS = range(1, len(CALLS) + 1)


def busy_client() -> ClientConnection:
    client = ClientConnection(max_frame_bytes=FRAME_BYTES_MAX)
    for body, revision, context in CALLS:
        client.request(body, context=context, revision=revision)
    return client


@given(STREAMS, SIZES)
def test_a_client_raises_nothing_but_protocol_errors(data: bytes, size: int) -> None:
    client = busy_client()
    answers: list[Answer] = []
    for at in range(0, len(data), size):
        try:
            answers += client.receive(data[at : at + size])
        except ProtocolError:
            assert client.failure is not None
            break
        assert client.buffered_bytes <= FRAME_BYTES_MAX + size
    assert len({answer.request_id for answer in answers}) == len(answers)
    assert client.outstanding + len(answers) <= len(IDS)


@given(st.sampled_from(IDS), st.binary(max_size=80), st.integers(0, 13))
def test_a_client_reads_any_data_or_refuses_it(request_id: int, data: bytes, status: int) -> None:
    _, revision, _ = CALLS[request_id - 1]
    table = (0x2FBA7DD9AE941830 if revision == 2 else 0).to_bytes(8, "little")
    head = b"FLO\x00" + bytes(4) + request_id.to_bytes(8, "little") + bytes(4)
    frame = sealed(head + bytes((revision, status, 0, 0)) + table + data)
    client = busy_client()
    try:
        (answer,) = client.receive(frame)
    except ProtocolError:
        return
    assert answer.request_id == request_id
