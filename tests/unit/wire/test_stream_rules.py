"""Streams and groups: what is refused, what is lenient, and what no vector shows."""

from __future__ import annotations

import pytest

from flo.wire import (
    OP_OF_REQUEST,
    OPS,
    Body,
    CallContext,
    Claimed,
    ClientConnection,
    GroupAck,
    GroupClaim,
    GroupConfigure,
    GroupCreate,
    GroupInfo,
    GroupJoin,
    GroupMode,
    GroupPending,
    GroupRead,
    GroupTouch,
    LocalProtocolError,
    ProtocolError,
    Ran,
    Reason,
    Records,
    Refusal,
    Rejected,
    Request,
    ServerConnection,
    Status,
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamId,
    StreamInfo,
    StreamItem,
    StreamList,
    StreamRead,
    StreamRecord,
    StreamTrim,
    encode_answer,
    encode_request,
)
from flo.wire.frames import HEADER_BYTES, request_frame, response_frame
from flo.wire.payload import Payload, join_payload

NS, S, G, C = b"default", b"events", b"g", b"w1"
APPEND, READ, TRIM, CREATE = 0x130, 0x131, 0x132, 0x13D
GROUP_CREATE, GROUP_READ, GROUP_ACK, GROUP_CLAIM = 0x150, 0x153, 0x154, 0x155
GROUP_PENDING, GROUP_NACK = 0x156, 0x159
LIMIT, COUNT, BLOCK, START, TAIL, PARTITION = 0x05, 0x15, 0x17, 0x21, 0x23, 0x24
AGE, BYTES, KEEP_LEN, KEEP_AGE, DELAY, MODE, BATCH = 0x26, 0x27, 0x29, 0x2A, 0x33, 0x32, 0xE6
ONE, TEN = (1).to_bytes(8, "little"), (10).to_bytes(8, "little")
MEMBER = b"\x01\x00g\x02\x00w1"
# A batch of one record, e1, with the header source: web.
ONE_RECORD = bytes.fromhex("01000000 02000000 6531 0100 0600 736f75726365 0300 776562")
ITEM = StreamItem(b"e1", ((b"source", b"web"),))
RECORD = StreamRecord(StreamId(7, 1), b"e1", tier=2)
BOTH = pytest.mark.parametrize("revision", [1, 2])


def frame(
    code: int, value: bytes = b"", options: dict[int, bytes] | None = None, revision: int = 1
) -> bytes:
    return request_frame(revision, 5, code, join_payload(Payload(NS, S, value, options or {})))


def request(body: Body, revision: int = 1) -> bytes:
    return encode_request(revision, 5, OP_OF_REQUEST[type(body)], body)


def body_of(data: bytes) -> Body:
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Request)
    return item.body


def rejected(data: bytes) -> Rejected:
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Rejected)
    assert item.refusal.ran is Ran.NO
    return item


def refused(data: bytes) -> Reason:
    item = rejected(data)
    assert not item.close
    return item.refusal.reason


# --- append ---


def test_v1_takes_a_value_as_it_is_unless_we_say_that_it_is_a_batch() -> None:
    raw = body_of(frame(APPEND, ONE_RECORD))
    assert raw == StreamAppend(NS, S, (StreamItem(ONE_RECORD),))
    assert body_of(frame(APPEND, ONE_RECORD, {BATCH: b""})) == StreamAppend(NS, S, (ITEM,))
    assert body_of(frame(APPEND, ONE_RECORD, revision=2)) == StreamAppend(NS, S, (ITEM,))


def test_one_plain_record_is_written_raw_in_v1() -> None:
    payload = b"x" * 100
    assert request(StreamAppend(NS, S, (StreamItem(payload),))) == frame(APPEND, payload)
    assert request(StreamAppend(NS, S, (ITEM,))) == frame(APPEND, ONE_RECORD, {BATCH: b""})


@BOTH
@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_1_to_1000_records(count: int, revision: int) -> None:
    value = count.to_bytes(4, "little") + bytes(6 * count)
    data = frame(APPEND, value, {BATCH: b""}, revision)
    assert refused(data) is Reason.OUT_OF_RANGE


@BOTH
@pytest.mark.parametrize("value", [ONE_RECORD[:-1], ONE_RECORD + b"x", b"\x01\x00"])
def test_a_batch_that_does_not_parse_ends_the_connection(value: bytes, revision: int) -> None:
    item = rejected(frame(APPEND, value, {BATCH: b""}, revision))
    assert item.close
    assert item.refusal.reason is Reason.MALFORMED


@BOTH
@pytest.mark.parametrize("header", [(b"a\xff", b"b"), (b"a", b"b\xff")])
def test_headers_are_text(header: tuple[bytes, bytes], revision: int) -> None:
    append = StreamAppend(NS, S, (StreamItem(b"", (header,)),))
    assert refused(request(append, revision)) is Reason.MALFORMED


@BOTH
def test_a_value_above_the_limit(revision: int) -> None:
    data = frame(APPEND, bytes(101), {}, revision)
    (item,) = ServerConnection(max_value_bytes=100).receive(data)
    assert isinstance(item, Rejected)
    assert item.refusal.reason is Reason.FIELD_TOO_LONG


# --- read ---


@BOTH
@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 100),
        ({COUNT: bytes(4)}, 100),
        ({COUNT: (7).to_bytes(4, "little")}, 7),
        ({LIMIT: (7).to_bytes(4, "little")}, 7),
        ({LIMIT: (7).to_bytes(4, "little"), COUNT: (8).to_bytes(4, "little")}, 8),
        ({COUNT: (1001).to_bytes(4, "little")}, 1000),
        ({COUNT: b"\xff\xff\xff\xff"}, 1000),
    ],
)
def test_how_many_records_are_read(options: dict[int, bytes], limit: int, revision: int) -> None:
    assert body_of(frame(READ, b"", options, revision)) == StreamRead(NS, S, limit=limit)
    group_read = body_of(frame(GROUP_READ, MEMBER, options, revision))
    assert group_read == GroupRead(NS, S, G, C, limit)


@pytest.mark.parametrize(("count", "limit"), [(0, 100), (1000, 1000), (1001, 1000)])
def test_how_many_records_are_claimed(count: int, limit: int) -> None:
    value = MEMBER + bytes(20) + count.to_bytes(4, "little")
    assert body_of(frame(GROUP_CLAIM, value)) == GroupClaim(NS, S, G, C, 0, limit=limit)


@pytest.mark.parametrize(
    ("code", "tag", "value", "width"),
    [
        (READ, COUNT, b"", 8),
        (READ, BLOCK, b"", 2),
        (READ, PARTITION, b"", 1),
        (GROUP_READ, COUNT, MEMBER, 1),
        (GROUP_READ, BLOCK, MEMBER, 8),
        (GROUP_NACK, DELAY, MEMBER + bytes(4), 8),
        (APPEND, PARTITION, ONE_RECORD, 2),
    ],
)
def test_v1_ignores_a_number_of_another_width_and_v2_refuses_it(
    code: int, tag: int, value: bytes, width: int
) -> None:
    odd = {tag: b"\x09" * width}
    assert body_of(frame(code, value, odd)) == body_of(frame(code, value))
    assert refused(frame(code, value, odd, revision=2)) is Reason.MALFORMED


@BOTH
@pytest.mark.parametrize("code", [READ, TRIM])
def test_an_id_of_another_width_is_never_ignored(code: int, revision: int) -> None:
    assert refused(frame(code, b"", {START: bytes(15)}, revision)) is Reason.MALFORMED


@BOTH
def test_nobody_waits_longer_than_300_seconds(revision: int) -> None:
    options = {BLOCK: (300_001).to_bytes(4, "little")}
    assert refused(frame(READ, b"", options, revision)) is Reason.OUT_OF_RANGE
    assert refused(frame(GROUP_READ, MEMBER, options, revision)) is Reason.OUT_OF_RANGE


# --- trim ---


@BOTH
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({KEEP_LEN: TEN}, StreamTrim(NS, S, max_len=10)),
        ({LIMIT: TEN}, StreamTrim(NS, S, max_len=10)),
        ({KEEP_AGE: TEN}, StreamTrim(NS, S, max_age_s=10)),
        ({AGE: TEN}, StreamTrim(NS, S, max_age_s=10)),
        ({BYTES: TEN}, StreamTrim(NS, S, max_bytes=10)),
        ({START: bytes(15) + b"\x01"}, StreamTrim(NS, S, StreamId(0, 1))),
    ],
)
def test_a_trim_may_use_the_tags_of_both_revisions(
    options: dict[int, bytes], expected: StreamTrim, revision: int
) -> None:
    assert body_of(frame(TRIM, b"", options, revision)) == expected


@pytest.mark.parametrize(
    ("options", "v1", "v2"),
    [
        ({}, Reason.CONFLICTING_FIELDS, Reason.CONFLICTING_FIELDS),
        ({KEEP_LEN: TEN, LIMIT: TEN}, Reason.CONFLICTING_FIELDS, Reason.CONFLICTING_FIELDS),
        ({KEEP_AGE: TEN, AGE: TEN}, Reason.CONFLICTING_FIELDS, Reason.CONFLICTING_FIELDS),
        ({LIMIT: TEN, AGE: TEN}, None, Reason.CONFLICTING_FIELDS),
        ({START: ONE * 2, AGE: TEN}, None, Reason.CONFLICTING_FIELDS),
        ({LIMIT: bytes(8)}, Reason.OUT_OF_RANGE, Reason.OUT_OF_RANGE),
        ({START: bytes(16)}, Reason.OUT_OF_RANGE, Reason.OUT_OF_RANGE),
        ({AGE: b"\xff" * 8}, Reason.OUT_OF_RANGE, Reason.OUT_OF_RANGE),
        ({KEEP_AGE: b"\xff" * 8}, Reason.OUT_OF_RANGE, Reason.OUT_OF_RANGE),
        ({LIMIT: TEN[:4]}, Reason.MALFORMED, Reason.MALFORMED),
    ],
)
def test_a_trim_says_what_to_keep(options: dict[int, bytes], v1: Reason | None, v2: Reason) -> None:
    if v1 is None:
        assert isinstance(body_of(frame(TRIM, b"", options)), StreamTrim)
    else:
        assert refused(frame(TRIM, b"", options)) is v1
    assert refused(frame(TRIM, b"", options, revision=2)) is v2


# --- streams and groups as a whole ---


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(CREATE, bytes(4)), Reason.OUT_OF_RANGE),
        (frame(CREATE, (1025).to_bytes(4, "little")), Reason.OUT_OF_RANGE),
        (frame(CREATE, b"\x01"), Reason.MALFORMED),
        (frame(CREATE, b"", {KEEP_LEN: b"\x01"}), Reason.MALFORMED),
        (request(StreamList(NS, b"", 1001)), Reason.OUT_OF_RANGE),
        (request(StreamList(NS, b"", 1, bytes(4097))), Reason.FIELD_TOO_LONG),
        (request(StreamInfo(NS, b"")), Reason.MALFORMED),
        (request(StreamInfo(NS, b"a\x00b")), Reason.MALFORMED),
        (request(StreamInfo(NS, b"s" * 4089)), Reason.FIELD_TOO_LONG),
        (frame(GROUP_CREATE, b"\x01\x00g", {MODE: b"\x03"}), Reason.OUT_OF_RANGE),
        (
            request(GroupCreate(NS, S, G, start=StreamId(1, 0), tail=True)),
            Reason.CONFLICTING_FIELDS,
        ),
    ],
)
def test_refusals_of_the_others(data: bytes, reason: Reason) -> None:
    assert refused(data) is reason


def test_a_stream_made_without_a_number_has_one_partition() -> None:
    assert body_of(frame(CREATE)) == StreamCreate(NS, S, 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"a\x00", Reason.MALFORMED),
        (b"\xff", Reason.MALFORMED),
        (b"n" * 256, Reason.FIELD_TOO_LONG),
    ],
)
def test_names_of_groups_and_consumers(name: bytes, reason: Reason) -> None:
    ids = (StreamId(1, 0),)
    bodies: list[Body] = [
        GroupJoin(NS, S, name, C),
        GroupJoin(NS, S, G, name),
        GroupRead(NS, S, G, name),
        GroupClaim(NS, S, G, name, 0),
        GroupAck(NS, S, name, C, ids),
        GroupPending(NS, S, name),
        GroupInfo(NS, S, name),
    ]
    if name:
        bodies += [GroupAck(NS, S, G, name, ids), GroupPending(NS, S, G, name)]
    assert [refused(request(body)) for body in bodies] == [reason] * len(bodies)


@BOTH
def test_an_empty_consumer_asks_for_all_that_is_pending(revision: int) -> None:
    data = frame(GROUP_PENDING, b"\x01\x00g\x00\x00", revision=revision)
    assert body_of(data) == GroupPending(NS, S, G)


@BOTH
@pytest.mark.parametrize(
    ("code", "value"),
    [
        (GROUP_READ, MEMBER + b"x"),
        (GROUP_READ, MEMBER[:-1]),
        (GROUP_ACK, MEMBER + b"\xff\xff\xff\xff" + bytes(16)),
        (GROUP_ACK, MEMBER + b"\x01\x00\x00\x00" + bytes(17)),
        (GROUP_CLAIM, MEMBER + bytes(23)),
        (GROUP_PENDING, MEMBER + b"x"),
    ],
)
def test_a_value_that_does_not_parse_ends_the_connection(
    code: int, value: bytes, revision: int
) -> None:
    assert rejected(frame(code, value, revision=revision)).close


@pytest.mark.parametrize(
    "body",
    [
        StreamCreate(NS, S),
        StreamAlter(NS, S),
        StreamDelete(NS, S),
        StreamList(NS),
        GroupCreate(NS, S, G),
        GroupConfigure(NS, S, G),
        GroupTouch(NS, S, G, C, ()),
        GroupInfo(NS, S, G),
    ],
)
def test_what_no_sdk_sends_is_not_in_v2(body: Body) -> None:
    op = OP_OF_REQUEST[type(body)]
    with pytest.raises(LocalProtocolError, match="send it as v1"):
        request(body, 2)
    data = frame(op.code, b"\x01\x00g", revision=2)
    assert refused(data) is Reason.UNKNOWN_OP


# --- answers ---


def test_v2_clients_take_the_first_two_tiers_only() -> None:
    for code, result in ((READ, Records((RECORD,))), (GROUP_CLAIM, Claimed((RECORD,), None))):
        with pytest.raises(LocalProtocolError, match="tier 2"):
            encode_answer(2, 1, OPS[code], result)
        assert encode_answer(1, 1, OPS[code], result)


@BOTH
def test_a_tier_that_no_server_has_is_refused(revision: int) -> None:
    record = encode_answer(1, 1, OPS[READ], Records((RECORD._replace(tier=3),)))[HEADER_BYTES:]
    data = record if revision == 2 else record.replace(b"\x03", b"\x04")
    client = ClientConnection()
    client.request(StreamRead(NS, S), revision=revision)
    with pytest.raises(ProtocolError, match="tier"):
        client.receive(response_frame(revision, 1, Status.OK, data))


def test_an_id_that_does_not_fit_the_wire() -> None:
    with pytest.raises(LocalProtocolError, match="does not fit"):
        request(GroupAck(NS, S, G, C, (StreamId(1 << 64, 0),)))
    with pytest.raises(LocalProtocolError, match="does not fit"):
        encode_answer(1, 1, OPS[READ], Records((RECORD._replace(id=StreamId(1 << 63, 0)),)))


def test_what_is_not_found_is_empty_for_official_v1_clients_only() -> None:
    refusal = Refusal(Reason.NOT_FOUND, Ran.NO, "no such group")
    for code in (READ, GROUP_READ, GROUP_ACK):
        assert encode_answer(1, 1, OPS[code], refusal)[HEADER_BYTES:] == b""
    client = ClientConnection()
    client.request(GroupAck(NS, S, G, C, ()), context=CallContext(deadline_ms=1000))
    (answer,) = client.receive(encode_answer(1, 1, OPS[GROUP_ACK], refusal, extended=True))
    assert answer.result == refusal


def test_an_unknown_mode_of_a_group_is_refused() -> None:
    assert max(GroupMode) == 2
    client = ClientConnection()
    client.request(GroupInfo(NS, S, G))
    with pytest.raises(ProtocolError, match="mode"):
        client.receive(response_frame(1, 1, Status.OK, b"\x03" + bytes(45)))
