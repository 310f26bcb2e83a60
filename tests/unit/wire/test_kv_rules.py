"""History, JSON and transactions: what is refused, what is lenient, and what no vector shows."""

from __future__ import annotations

import pytest

from flo.wire import (
    OP_OF_REQUEST,
    OPS,
    Body,
    CallContext,
    ClientConnection,
    History,
    HistoryEntry,
    KvGet,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
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
    Stored,
    TxnBegin,
    TxnCommit,
    TxnRollback,
    encode_answer,
    encode_request,
)
from flo.wire.frames import HEADER_BYTES, RESPONSE_HEADER, request_frame, response_frame
from flo.wire.payload import Payload, join_payload, join_table_payload

NS = b"default"
LIMIT, ROUTING, TXN = 0x05, 0x08, 0x09
SEVEN = (7).to_bytes(8, "little")
FRAME_BYTES_MAX = 262_144


def v1(
    code: int, key: bytes = b"k", value: bytes = b"", options: dict[int, bytes] | None = None
) -> bytes:
    return request_frame(1, 5, code, join_payload(Payload(NS, key, value, options or {})))


def v2(code: int, body: bytes, key: bytes = b"k") -> bytes:
    return request_frame(2, 5, code, join_table_payload(Payload(NS, key, body)))


def request(body: Body, revision: int = 1) -> bytes:
    return encode_request(revision, 5, OP_OF_REQUEST[type(body)], body)


def body_of(frame: bytes) -> Body:
    (item,) = ServerConnection().receive(frame)
    assert isinstance(item, Request)
    return item.body


def rejected(frame: bytes, server: ServerConnection | None = None) -> Rejected:
    (item,) = (server or ServerConnection()).receive(frame)
    assert isinstance(item, Rejected)
    assert item.refusal.ran is Ran.NO
    return item


@pytest.mark.parametrize(
    ("frame", "reason", "words"),
    [
        (request(KvHistory(NS, b"")), Reason.MALFORMED, "key is empty"),
        (request(KvHistory(NS, b""), 2), Reason.MALFORMED, "key is empty"),
        (request(KvHistory(NS, b"k", 0), 2), Reason.OUT_OF_RANGE, "history limit of 0: 1 to 65"),
        (request(KvHistory(NS, b"k", 66), 2), Reason.OUT_OF_RANGE, "history limit of 66: 1 to 65"),
        (
            request(KvHistory(NS, b"k", 1, b"r" * 4097), 2),
            Reason.FIELD_TOO_LONG,
            "routing key of 4097",
        ),
        (request(KvJsonGet(NS, b"")), Reason.MALFORMED, "key is empty"),
        (request(KvJsonSet(NS, b"", b"$", b"1")), Reason.MALFORMED, "key is empty"),
        (request(KvJsonDelete(NS, b""), 2), Reason.MALFORMED, "key is empty"),
        (request(KvJsonGet(NS, b"k", b"p" * 1025)), Reason.FIELD_TOO_LONG, "path of 1025 bytes"),
        (request(KvJsonGet(NS, b"k", b"p" * 1025), 2), Reason.FIELD_TOO_LONG, "at most 1024"),
        (request(KvJsonSet(NS, b"k", b"p" * 1025, b"1")), Reason.FIELD_TOO_LONG, "path of 1025"),
        (
            request(KvJsonSet(NS, b"k", b"p" * 1025, b"1"), 2),
            Reason.FIELD_TOO_LONG,
            "path of 1025",
        ),
        (request(KvJsonDelete(NS, b"k", b"p" * 1025)), Reason.FIELD_TOO_LONG, "path of 1025"),
        (
            request(KvJsonSet(NS, b"k", b"", bytes(252_820)), 2),
            Reason.FIELD_TOO_LONG,
            "JSON document of 252820 bytes: at most 252819",
        ),
        (
            request(KvJsonSet(NS, b"k", b"", bytes((1 << 20) + 1))),
            Reason.FIELD_TOO_LONG,
            "JSON document of 1048577 bytes: at most 1048576",
        ),
        (
            request(KvJsonSet(NS, b"k", b"", b"1", b"r" * 4097), 2),
            Reason.FIELD_TOO_LONG,
            "routing key of 4097",
        ),
        (request(TxnBegin(NS, b"")), Reason.MALFORMED, "routing key is empty"),
        (request(TxnBegin(NS, b""), 2), Reason.MALFORMED, "routing key is empty"),
        (request(TxnBegin(NS, b"r" * 4097)), Reason.FIELD_TOO_LONG, "routing key of 4097"),
        (request(TxnBegin(NS, b"r" * 4097), 2), Reason.FIELD_TOO_LONG, "at most 4096"),
        (request(TxnCommit(NS, b"r" * 4097, 7)), Reason.FIELD_TOO_LONG, "routing key of 4097"),
        (v1(0x111), Reason.MALFORMED, "no transaction is named"),
        (v1(0x112, options={TXN: b"\x07"}), Reason.MALFORMED, "option 0x09 with 8 bytes"),
    ],
)
def test_outside_the_rules(frame: bytes, reason: Reason, words: str) -> None:
    item = rejected(frame)
    assert not item.close
    assert item.refusal.reason is reason
    assert words in item.refusal.message


@pytest.mark.parametrize(
    "frame",
    [
        v1(0x10D),  # no length of the path
        v1(0x10D, value=b"\x02\x00$"),
        v2(0x105, b"\x00\x00\x00"),
        v2(0x105, b"\x01\x01\x00"),
        v2(0x10C, b"\x00"),
        v2(0x10D, b"\x00\x02\x00\x00\x001\x00"),
        v2(0x10E, b"\x00\x00?"),
        v2(0x110, b"?"),
        v2(0x111, SEVEN[:7]),
        v2(0x112, SEVEN + b"?"),
        # What does not parse is found before what is too long.
        v2(0x10D, b"\x00\x00\x00\x00\x00\x01\x01\x10" + bytes(4097) + b"?"),
    ],
)
def test_what_does_not_parse_ends_the_connection(frame: bytes) -> None:
    item = rejected(frame)
    assert item.close
    assert item.refusal.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("code", "key", "value"),
    [
        (0x102, b"", b"\x01\x00\x01\x00k"),
        (0x104, b"", b""),
        (0x105, b"k", b""),
        (0x10C, b"k", b"$"),
        (0x10D, b"k", b"\x01\x00$1"),
        (0x10E, b"k", b"$"),
    ],
)
def test_what_cannot_be_part_of_a_transaction(code: int, key: bytes, value: bytes) -> None:
    assert body_of(v1(code, key, value, {ROUTING: b"r"}))
    # An integer of another width counts as absent, here as everywhere.
    assert body_of(v1(code, key, value, {TXN: b"\x07"}))
    item = rejected(v1(code, key, value, {TXN: SEVEN}))
    assert not item.close
    assert item.refusal.reason is Reason.CONFLICTING_FIELDS
    assert item.refusal.v1_status is Status.BAD_REQUEST


def test_the_largest_json_set_fits_the_largest_frame() -> None:
    body = KvJsonSet(b"n" * 63, b"k" * 4032, b"p" * 1024, b"1" * 252_819, b"r" * 4096)
    frame = request(body, 2)
    assert body_of(frame) == body
    # With the 4096 bytes of key that official clients may send.
    assert len(frame) + 64 == FRAME_BYTES_MAX


def test_documents_obey_the_limit_of_values() -> None:
    for revision in (1, 2):
        server = ServerConnection(max_value_bytes=10)
        (item,) = server.receive(request(KvJsonSet(NS, b"k", b"$", bytes(10)), revision))
        assert isinstance(item, Request)
        item = rejected(request(KvJsonSet(NS, b"k", b"$", bytes(11)), revision), server)
        assert item.refusal.message == "JSON document of 11 bytes: at most 10"


@pytest.mark.parametrize(("asked", "limit"), [(0, None), (1, 1), (65, 65), (66, 65), (1 << 31, 65)])
def test_v1_asks_for_any_number_of_versions(asked: int, limit: int | None) -> None:
    options = {LIMIT: asked.to_bytes(4, "little")}
    assert body_of(v1(0x105, options=options)) == KvHistory(NS, b"k", limit)


def test_v2_fields_that_are_absent_mean_their_defaults() -> None:
    assert body_of(v2(0x105, b"\x00\x00")) == KvHistory(NS, b"k")
    assert body_of(v2(0x10C, b"\x00\x00")) == KvJsonGet(NS, b"k")
    assert body_of(v2(0x10E, b"\x01\x00\x00\x00")) == KvJsonDelete(NS, b"k")
    assert body_of(v2(0x10D, b"\x00\x01\x00\x00\x001\x00")) == KvJsonSet(NS, b"k", b"", b"1")


def test_v1_transactions_are_named_by_the_key_or_by_the_option() -> None:
    assert body_of(v1(0x110, b"", options={ROUTING: b"r"})) == TxnBegin(NS, b"r")
    assert body_of(v1(0x110, b"r")) == TxnBegin(NS, b"r")
    assert body_of(v1(0x111, b"", options={ROUTING: b"r", TXN: SEVEN})) == TxnCommit(NS, b"r", 7)
    assert body_of(v1(0x112, b"", options={TXN: SEVEN})) == TxnRollback(NS, None, 7)


def test_v2_ends_transactions_by_their_id_alone() -> None:
    assert body_of(request(TxnCommit(NS, b"r", 7), 2)) == TxnCommit(NS, None, 7)
    assert body_of(request(TxnRollback(NS, b"r", 7), 2)) == TxnRollback(NS, None, 7)


def test_a_history_longer_than_v2_can_say() -> None:
    history = History((HistoryEntry(1, -1, b""),) * 256)
    with pytest.raises(LocalProtocolError):
        encode_answer(2, 1, OPS[0x105], history)
    assert len(encode_answer(1, 1, OPS[0x105], history)) == HEADER_BYTES + 4 + 256 * 20


def answered(body: Body, revision: int, status: Status, data: bytes) -> Result | Refusal:
    client = ClientConnection()
    client.request(body, revision=revision)
    (answer,) = client.receive(response_frame(revision, 1, status, data))
    return answer.result


def test_a_json_set_always_has_a_version_in_v2() -> None:
    with pytest.raises(LocalProtocolError):
        encode_answer(2, 1, OPS[0x10D], Stored(None))
    assert encode_answer(1, 1, OPS[0x10D], Stored(None))[HEADER_BYTES:] == b""
    assert answered(KvJsonSet(NS, b"k", b"", b"1"), 1, Status.OK, b"") == Stored(None)


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (TxnBegin(NS, b"r"), b"\x01" + SEVEN + SEVEN),
        (TxnCommit(NS, b"r", 7), b"\x00" + SEVEN + b"\x01\x00"),
        (TxnCommit(NS, b"r", 7), b"\x01" + SEVEN),
        (KvHistory(NS, b"k"), b"\xff\xff\xff\xff"),
        (KvJsonGet(NS, b"k"), SEVEN[:7]),
    ],
)
def test_v1_answers_that_are_none(body: Body, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        answered(body, 1, Status.OK, data)


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (TxnBegin(NS, b"r"), SEVEN + SEVEN + b"?"),
        (TxnCommit(NS, None, 7), SEVEN + b"\x01\x00?"),
        (TxnRollback(NS, None, 7), b"?"),
        (KvHistory(NS, b"k"), b"\x00?"),
        (KvJsonGet(NS, b"k"), SEVEN + bytes(4) + b"?"),
        (KvJsonSet(NS, b"k", b"", b"1"), SEVEN + b"?"),
        (KvJsonDelete(NS, b"k"), b"\x00?"),
    ],
)
def test_v2_answers_with_bytes_left_over(body: Body, data: bytes) -> None:
    assert answered(body, 2, Status.OK, data[:-1]) is not None
    with pytest.raises(ProtocolError):
        answered(body, 2, Status.OK, data)


@pytest.mark.parametrize(
    ("reason", "status", "v1_status"),
    [
        (Reason.NO_SUCH_TRANSACTION, 2, 5),
        (Reason.WRONG_ROUTING_KEY, 3, 4),
        (Reason.TXN_TOO_LARGE, 3, 3),
        (Reason.TOO_MANY_TRANSACTIONS, 10, 10),
        (Reason.CONFLICTING_FIELDS, 3, 3),
        (Reason.WRONG_TYPE, 3, 3),
    ],
)
def test_refusals_around_transactions(reason: Reason, status: int, v1_status: int) -> None:
    refusal = Refusal(reason, Ran.NO, "why")
    body = KvGet(NS, b"k", txn=7)
    plain = encode_answer(1, 1, OPS[0x101], refusal)
    assert RESPONSE_HEADER.unpack_from(plain)[5] == v1_status
    # Unlike "not found" it has its words: no official client reads them as a result.
    assert plain[HEADER_BYTES:] == b"why"
    own = encode_answer(1, 1, OPS[0x101], refusal, extended=True)
    assert RESPONSE_HEADER.unpack_from(own)[5] == v1_status
    client = ClientConnection()
    client.request(body, context=CallContext())
    assert [answer.result for answer in client.receive(own)] == [refusal]
    assert RESPONSE_HEADER.unpack_from(encode_answer(2, 1, OPS[0x101], refusal))[5] == status
    data = bytes((reason, 0, Ran.NO)) + b"why"
    assert answered(body, 2, Status(status), data) == refusal
