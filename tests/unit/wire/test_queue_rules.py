"""Queues: what is refused, what is lenient, and what no vector shows."""

from __future__ import annotations

import pytest

from flo.wire import (
    OP_OF_REQUEST,
    OPS,
    Body,
    CallContext,
    ClientConnection,
    LocalProtocolError,
    ProtocolError,
    Ran,
    Reason,
    Refusal,
    Rejected,
    Request,
    Result,
    ServerConnection,
    Status,
    encode_answer,
    encode_request,
    partition_of,
)
from flo.wire.frames import HEADER_BYTES, request_frame, response_frame
from flo.wire.payload import Payload, join_payload
from flo.wire.queue_messages import (
    EnqueuedBatch,
    QueueAck,
    QueueConfigure,
    QueueDequeue,
    QueueDlqList,
    QueueDlqPurge,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueueListing,
    QueueMessage,
    QueueMessages,
    QueueNack,
    QueuePeek,
    QueuePurge,
    QueueStats,
    QueueTouch,
)

NS, Q = b"default", b"tasks"
ENQUEUE, DEQUEUE, NACK, DLQ_LIST, PEEK, TOUCH = 0x170, 0x171, 0x174, 0x176, 0x17C, 0x17D
BATCH, CONFIGURE = 0xF002, 0xF011
LIMIT, PRIORITY, DELAY, VISIBILITY, DEDUP = 0x05, 0x10, 0x11, 0x12, 0x13
COUNT, TO_DLQ, BLOCK = 0x15, 0x16, 0x17
OURS = CallContext(deadline_ms=1000)
MESSAGE = QueueMessage(1, b"m", 1_700_000_000_000, 2, 3)
BOTH = pytest.mark.parametrize("revision", [1, 2])


def frame(
    code: int, revision: int = 1, options: dict[int, bytes] | None = None, value: bytes = b""
) -> bytes:
    return request_frame(revision, 5, code, join_payload(Payload(NS, Q, value, options or {})))


def request(body: Body, revision: int = 1) -> bytes:
    return encode_request(revision, 5, OP_OF_REQUEST[type(body)], body)


def body_of(data: bytes) -> Body:
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Request)
    return item.body


def rejected(data: bytes, server: ServerConnection | None = None) -> Rejected:
    (item,) = (server or ServerConnection()).receive(data)
    assert isinstance(item, Rejected)
    assert item.refusal.ran is Ran.NO
    return item


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


@BOTH
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 1),
        ({COUNT: u32(0)}, 1),
        ({COUNT: u32(100)}, 100),
        ({LIMIT: u32(7)}, 7),
        ({LIMIT: u32(7), COUNT: u32(8)}, 8),
        ({COUNT: u32(0), LIMIT: u32(7)}, 1),
        ({0x77: b"?", COUNT: u32(9)}, 9),
    ],
)
def test_counts(revision: int, options: dict[int, bytes], count: int) -> None:
    assert body_of(frame(DEQUEUE, revision, options)) == QueueDequeue(NS, Q, count)
    assert body_of(frame(PEEK, revision, options)) == QueuePeek(NS, Q, count)


@BOTH
def test_a_limit_of_dead_letters(revision: int) -> None:
    assert body_of(frame(DLQ_LIST, revision)) == QueueDlqList(NS, Q)
    assert body_of(frame(DLQ_LIST, revision, {LIMIT: u32(0)})) == QueueDlqList(NS, Q)
    assert body_of(frame(DLQ_LIST, revision, {COUNT: u32(9)})) == QueueDlqList(NS, Q, 9)


@BOTH
def test_an_option_that_is_zero_or_empty_is_none(revision: int) -> None:
    zeros = {PRIORITY: b"\x00", DELAY: bytes(8), DEDUP: b""}
    assert body_of(frame(ENQUEUE, revision, zeros)) == QueueEnqueue(NS, Q, b"")
    zeros = {VISIBILITY: u32(0), BLOCK: u32(0)}
    assert body_of(frame(DEQUEUE, revision, zeros)) == QueueDequeue(NS, Q)
    nack = frame(NACK, revision, {TO_DLQ: b"\x00"}, u32(0))
    assert body_of(nack) == QueueNack(NS, Q, ())
    assert request(QueueEnqueue(NS, Q, b"", 0, 0, b""), revision) == frame(ENQUEUE, revision)


def test_of_an_option_said_twice_the_last_counts() -> None:
    once = frame(DEQUEUE, 1, {COUNT: u32(2)})
    options = bytes((COUNT, 4)) + u32(1) + bytes((COUNT, 4)) + u32(2)
    names = once[HEADER_BYTES : -8 - 4]
    twice = names + bytes(4) + len(options).to_bytes(2, "little") + options
    assert body_of(request_frame(1, 5, DEQUEUE, twice)) == QueueDequeue(NS, Q, 2)


WIDTHS: list[tuple[int, dict[int, bytes], bytes, Body]] = [
    (ENQUEUE, {PRIORITY: b"\x01\x00"}, b"", QueueEnqueue(NS, Q, b"")),
    (ENQUEUE, {DELAY: u32(1)}, b"", QueueEnqueue(NS, Q, b"")),
    (DEQUEUE, {COUNT: b"\x02"}, b"", QueueDequeue(NS, Q)),
    (DEQUEUE, {BLOCK: bytes(8)}, b"", QueueDequeue(NS, Q)),
    (DEQUEUE, {VISIBILITY: b""}, b"", QueueDequeue(NS, Q)),
    (PEEK, {COUNT: b"\x02"}, b"", QueuePeek(NS, Q)),
    (DLQ_LIST, {LIMIT: bytes(8)}, b"", QueueDlqList(NS, Q)),
    (NACK, {TO_DLQ: u32(1)}, u32(0), QueueNack(NS, Q, ())),
]


@pytest.mark.parametrize(("code", "options", "value", "body"), WIDTHS)
def test_an_integer_of_another_width_is_ignored_in_v1_and_refused_in_v2(
    code: int, options: dict[int, bytes], value: bytes, body: Body
) -> None:
    assert body_of(frame(code, 1, options, value)) == body
    item = rejected(frame(code, 2, options, value))
    assert item.refusal.reason is Reason.MALFORMED
    assert not item.close


def batch(*items: QueueItem) -> QueueEnqueueBatch:
    return QueueEnqueueBatch(NS, Q, items)


REFUSED: list[tuple[Body, Reason, str]] = [
    (QueueDequeue(NS, Q, 101), Reason.OUT_OF_RANGE, "messages of 101: 1 to 100"),
    (QueuePeek(NS, Q, 101), Reason.OUT_OF_RANGE, "messages of 101: 1 to 100"),
    (QueueDlqList(NS, Q, 1001), Reason.OUT_OF_RANGE, "messages of 1001: 1 to 1000"),
    (QueueDequeue(NS, Q, 1, 300_001), Reason.OUT_OF_RANGE, "wait in milliseconds"),
    (QueueEnqueue(NS, Q, b"", 0, 1 << 63), Reason.OUT_OF_RANGE, "delay in milliseconds"),
    (batch(), Reason.OUT_OF_RANGE, "messages of 0: 1 to 1000"),
    (batch(*[QueueItem(b"")] * 1001), Reason.OUT_OF_RANGE, "messages of 1001: 1 to 1000"),
    (batch(QueueItem(b"", 0, 1 << 63)), Reason.OUT_OF_RANGE, "delay in milliseconds"),
    (QueueAck(NS, Q, (1,) * 10_001), Reason.OUT_OF_RANGE, "sequences of 10001: 0 to 10000"),
    (QueueConfigure(NS, Q, 2), Reason.OUT_OF_RANGE, "delivery of 2: 0 to 1"),
    (QueueConfigure(NS, Q, None, 0), Reason.OUT_OF_RANGE, "visibility timeout"),
    (QueueConfigure(NS, Q, None, None, 0), Reason.OUT_OF_RANGE, "attempts of 0"),
    (QueueList(NS, b"", 1001), Reason.OUT_OF_RANGE, "limit of 1001"),
    (QueueList(NS, b"", None, bytes(4097)), Reason.FIELD_TOO_LONG, "cursor of 4097"),
    (QueueList(NS, b"a\x00"), Reason.MALFORMED, "NUL"),
]


@pytest.mark.parametrize(("body", "reason", "words"), REFUSED)
def test_what_is_outside_its_limits_is_refused(body: Body, reason: Reason, words: str) -> None:
    for revision in (1, 2):
        op = OP_OF_REQUEST[type(body)]
        if (op.v1 if revision == 1 else op.v2) is not None:
            item = rejected(request(body, revision))
            assert item.refusal.reason is reason
            assert words in item.refusal.message
            assert not item.close


@pytest.mark.parametrize(
    "body", [QueueEnqueue(NS, Q, b"12345"), batch(QueueItem(b""), QueueItem(b"12345"))]
)
def test_a_payload_has_the_limit_of_a_value(body: Body) -> None:
    item = rejected(request(body), ServerConnection(max_value_bytes=4))
    assert item.refusal.reason is Reason.FIELD_TOO_LONG
    assert item.refusal.message == "payload of 5 bytes: at most 4"
    assert ServerConnection(max_value_bytes=5).receive(request(body))


def named(queue: bytes) -> list[Body]:
    return [
        QueueEnqueue(NS, queue, b"m"),
        QueueEnqueueBatch(NS, queue, (QueueItem(b"m"),)),
        QueueDequeue(NS, queue),
        QueuePeek(NS, queue),
        QueueAck(NS, queue, (1,)),
        QueueNack(NS, queue, (1,)),
        QueueTouch(NS, queue, (1,)),
        QueueDlqList(NS, queue),
        QueueDlqRequeue(NS, queue, (1,)),
        QueueDlqPurge(NS, queue),
        QueuePurge(NS, queue),
        QueueStats(NS, queue),
        QueueConfigure(NS, queue),
    ]


@pytest.mark.parametrize(
    ("queue", "reason", "words"),
    [
        (b"", Reason.MALFORMED, "queue name is empty"),
        (b"a\x00b", Reason.MALFORMED, "queue name contains a NUL byte"),
        (b"q" * 4089, Reason.FIELD_TOO_LONG, "queue name of 4089 bytes: at most 4088"),
    ],
)
def test_a_queue_is_named_as_a_key_is(queue: bytes, reason: Reason, words: str) -> None:
    for body in named(queue):
        item = rejected(request(body))
        assert item.refusal.reason is reason
        assert words in item.refusal.message
        assert not item.close
    for body in named(b"q" * 4088):
        assert body_of(request(body)) == body


def test_a_queue_lives_where_a_key_of_its_name_does() -> None:
    for body in named(b"{user:42}:mail"):
        assert OP_OF_REQUEST[type(body)].routing == "key"
        assert type(body)._fields[:2] == ("namespace", "queue")
    # As user:42, whose number is among the golden ones of the routing.
    assert partition_of(NS, b"{user:42}:mail", 65_535) == 11413523102702245344 % 65_535


@pytest.mark.parametrize(
    "data",
    [
        frame(NACK, 1, {}, b""),
        frame(NACK, 2, {}, u32(2) + bytes(8)),
        frame(NACK, 1, {}, u32(1) + bytes(9)),
        frame(BATCH, 1, {}, b"\x01\x00" + u32(100)),
        frame(BATCH, 1, {}, b"\x01\x00" + u32(1) + b"m" + bytes(10) + b"?"),
        frame(CONFIGURE, 1, {}, bytes(2)),
        frame(CONFIGURE, 1, {}, bytes(4)),
        frame(CONFIGURE, 1, {}, b"\x02\x00\x00"),
    ],
)
def test_a_value_that_does_not_parse_ends_the_connection(data: bytes) -> None:
    item = rejected(data)
    assert item.close
    assert item.refusal.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        QueueTouch(NS, Q, (1,)),
        QueueStats(NS, Q),
        QueueList(NS),
        QueuePurge(NS, Q),
        batch(QueueItem(b"m")),
    ],
)
def test_what_v2_does_not_have(body: Body) -> None:
    code = OP_OF_REQUEST[type(body)].code
    item = rejected(frame(code, 2, {}, u32(0)))
    assert item.refusal.reason is Reason.UNKNOWN_OP
    assert not item.close
    with pytest.raises(LocalProtocolError, match="send it as v1"):
        request(body, 2)


@pytest.mark.parametrize(
    "body",
    [
        QueueEnqueue(NS, Q, b"", 256),
        QueueEnqueue(NS, Q, b"", -1),
        QueueEnqueue(NS, Q, b"", 0, -1),
        QueueEnqueue(NS, Q, b"", 0, 0, bytes(256)),
        QueueDequeue(NS, Q, -1),
        QueueDequeue(NS, Q, 1, 1 << 32),
        QueueDequeue(NS, Q, 1, 0, 1 << 32),
        QueueAck(NS, Q, (1 << 64,)),
        QueueTouch(NS, Q, (1,), 1 << 32),
        batch(QueueItem(b"", 256)),
        batch(QueueItem(b"", 0, 0, bytes(256))),
        batch(*[QueueItem(b"")] * 65_536),
        QueueConfigure(NS, Q, None, None, 65_536),
    ],
)
def test_what_does_not_fit_is_not_sent(body: Body) -> None:
    with pytest.raises(LocalProtocolError):
        request(body)


def answer_to(body: Body, data: bytes, revision: int = 1) -> Result | Refusal:
    client = ClientConnection()
    request_id, _ = client.request(body, revision=revision)
    (answer,) = client.receive(response_frame(revision, request_id, Status.OK, data))
    return answer.result


@BOTH
@pytest.mark.parametrize("body", [QueueDequeue(NS, Q), QueuePeek(NS, Q), QueueDlqList(NS, Q)])
def test_bytes_after_the_last_message_are_ignored(revision: int, body: Body) -> None:
    op = OP_OF_REQUEST[type(body)]
    messages = QueueMessages((MESSAGE, MESSAGE._replace(sequence=2)))
    data = encode_answer(revision, 1, op, messages)[HEADER_BYTES:]
    assert answer_to(body, data + b"more", revision) == answer_to(body, data, revision)


def test_only_our_client_and_v2_are_told_the_details() -> None:
    messages = QueueMessages((MESSAGE,))
    plain = encode_answer(1, 1, OPS[DEQUEUE], messages)[HEADER_BYTES:]
    full = encode_answer(1, 1, OPS[DEQUEUE], messages, extended=True)[HEADER_BYTES:]
    assert full[: len(plain)] == plain
    assert len(full) == len(plain) + 13
    body = QueueDequeue(NS, Q)
    assert answer_to(body, plain) == QueueMessages((QueueMessage(1, b"m", 0, 0, 0),))
    assert answer_to(body, full) == messages


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (QueueEnqueue(NS, Q, b""), bytes(7)),
        (QueueEnqueue(NS, Q, b""), bytes(9)),
        (QueueDequeue(NS, Q), u32(1)),
        (batch(QueueItem(b"m")), b"\x02\x00" + bytes(16)),
        (batch(QueueItem(b"m")), b"\x01\x00" + bytes(9)),
        (QueueStats(NS, Q), b"\x00"),
        (QueueList(NS), u32(1 << 31)),
        (QueueList(NS), u32(0) + b"\x02\x00\x00"),
        (QueuePurge(NS, Q), b""),
        (QueueConfigure(NS, Q), b"?"),
    ],
)
def test_an_answer_that_does_not_parse(body: Body, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        answer_to(body, data)


def test_the_last_page_has_no_cursor_whatever_it_says() -> None:
    assert answer_to(QueueList(NS), u32(0) + b"\x00\x01\x00c") == QueueListing((), None)


def test_our_client_says_its_context_beside_the_options() -> None:
    body = QueueTouch(NS, Q, (1,), 45_000)
    (item,) = ServerConnection().receive(encode_request(1, 5, OPS[TOUCH], body, OURS))
    assert isinstance(item, Request)
    assert (item.body, item.context, item.extended) == (body, OURS, True)


def test_the_largest_batch() -> None:
    items = (QueueItem(b"m" * 1000, 255, 1, b"d" * 50),) * 1000
    body = QueueEnqueueBatch(NS, Q, items)
    assert body_of(request(body)) == body
    enqueued = EnqueuedBatch(tuple(range(1000)))
    data = encode_answer(1, 1, OPS[BATCH], enqueued)[HEADER_BYTES:]
    assert answer_to(body, data) == enqueued
