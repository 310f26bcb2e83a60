"""What a server refuses, how, and whether the connection survives it."""

from __future__ import annotations

from struct import Struct
from zlib import crc32

import pytest

from flo.wire import (
    OPS,
    Body,
    CallContext,
    KvGet,
    KvIncr,
    KvMget,
    KvPut,
    KvScan,
    Ping,
    Ran,
    Reason,
    Rejected,
    Request,
    ServerConnection,
    Status,
    encode_request,
)
from flo.wire.frames import HEADER_BYTES, RESPONSE_HEADER, TABLE_HASH
from flo.wire.registry import OP_OF_REQUEST

HEAD = Struct("<4sIQ")
TAIL = Struct("<HBBQ")
NS = b"default"
PING = encode_request(1, 99, OPS[0], Ping())


def frame(
    payload: bytes, *, code: int = 0x101, version: int = 1, flags: int = 0, table: int = 0
) -> bytes:
    """A frame with a good checksum, whatever is in it."""
    head = HEAD.pack(b"FLO\x00", len(payload), 5)
    tail = TAIL.pack(code, version, flags, table) + payload
    return head + crc32(tail, crc32(head)).to_bytes(4, "little") + tail


def payload(key: bytes = b"k", value: bytes = b"", options: bytes = b"") -> bytes:
    """The v1 payload."""
    return b"".join(
        (
            b"\x07\x00default",
            len(key).to_bytes(2, "little"),
            key,
            len(value).to_bytes(4, "little"),
            value,
            len(options).to_bytes(2, "little"),
            options,
        )
    )


def request(body: Body, revision: int = 1, context: CallContext | None = None) -> bytes:
    return encode_request(revision, 5, OP_OF_REQUEST[type(body)], body, context)


def rejected(data: bytes, server: ServerConnection | None = None) -> Rejected:
    """The rejection of one bad frame, checked for what must be true of every one."""
    server = server or ServerConnection()
    first, *rest = server.receive(data + PING)
    assert isinstance(first, Rejected)
    assert first.refusal.ran is Ran.NO
    assert first.request_id == (0 if first.close else 5)
    assert server.closed == first.close
    assert [type(item) for item in rest] == ([] if first.close else [Request])
    answer = first.encode()
    if first.revision:
        header = RESPONSE_HEADER.unpack_from(answer)
        assert header[2] == first.request_id
        assert header[4] == first.revision
        assert header[5] != Status.OK
    return first


@pytest.mark.parametrize(
    ("data", "revision", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 2, "magic"),
        (b"*1\r\n$4\r\nPING\r\n", 2, "magic"),
        (frame(payload(), version=3), 2, "version 3"),
        (frame(payload(), code=0x102, version=0), 2, "version 0"),
        (frame(payload())[:-1] + b"\x01", 1, "checksum"),
        (frame(b"", version=2, table=TABLE_HASH) + b"\x01", 2, "namespace"),
        (frame(b""), 1, "namespace"),
        (frame(b"\x07"), 1, "namespace"),
        (frame(b"\x07\x00defaul"), 1, "namespace"),
        (frame(b"\x07\x00default\x02\x00k"), 1, "key"),
        (frame(b"\x07\x00default\x01\x00k\xff\xff\xff\xff"), 1, "value"),
        (frame(payload() + b"\x00"), 1, "options"),
        (frame(payload(options=b"\x17")), 1, "option"),
        (frame(payload(options=b"\x17\x04\x00")), 1, "option 0x17"),
        (frame(b"\x07\x00default\x01\x00k\x02", version=2, table=TABLE_HASH), 2, "boolean"),
        (
            frame(b"\x07\x00default\x01\x00k\x00\x00\x00\x00\x00", version=2, table=TABLE_HASH),
            2,
            "left over",
        ),
        (frame(payload(b"", b"\x02\x00\x01\x00a"), code=0x102), 1, "field of 2 bytes"),
        (frame(payload(b"", b"\x01\x00\x01\x00ab"), code=0x102), 1, "left over"),
    ],
)
def test_what_cannot_be_read_ends_the_connection(data: bytes, revision: int, words: str) -> None:
    item = rejected(data)
    assert item.close
    assert item.revision == revision
    assert item.refusal.reason is Reason.MALFORMED
    assert words in item.refusal.message


def test_nothing_is_read_after_the_end() -> None:
    server = ServerConnection()
    rejected(b"nonsense", server)
    assert server.receive(PING) == []
    assert server.buffered_bytes == 0


def test_a_wrong_beginning_is_seen_before_a_whole_header_is_there() -> None:
    assert rejected(b"HE").close
    server = ServerConnection()
    assert server.receive(b"FLO\x00" + bytes(19)) == []
    (item,) = server.receive(b"\x00\x00")
    assert isinstance(item, Rejected)
    assert item.close


def test_version_0_is_seen_after_24_bytes_and_gets_no_answer() -> None:
    header = b"FLO\x00" + bytes(16) + b"\x01\x31\x00\x00"
    (item,) = ServerConnection().receive(header)
    assert isinstance(item, Rejected)
    assert item.close
    assert item.encode() == b""


@pytest.mark.parametrize("version", [1, 2])
def test_a_frame_too_long_is_refused_from_its_header(version: int) -> None:
    server = ServerConnection(max_frame_bytes=1024)
    header = (
        HEAD.pack(b"FLO\x00", 1024 - HEADER_BYTES + 1, 5)
        + bytes(4)
        + TAIL.pack(0x101, version, 0, 0)
    )
    (item,) = server.receive(header)
    assert isinstance(item, Rejected)
    assert (item.revision, item.request_id, item.close) == (version, 0, True)
    assert item.refusal.reason is Reason.FIELD_TOO_LONG
    assert "993 bytes" in item.refusal.message
    assert "992" in item.refusal.message


def test_a_frame_just_short_enough_is_waited_for() -> None:
    server = ServerConnection(max_frame_bytes=1024)
    header = HEAD.pack(b"FLO\x00", 1024 - HEADER_BYTES, 5) + bytes(4) + TAIL.pack(0x101, 1, 0, 0)
    assert server.receive(header) == []
    assert not server.closed


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (frame(b"", version=2, table=1), Reason.TABLE_MISMATCH, "0x2fba7dd9ae941830"),
        (frame(payload(), flags=1), Reason.UNKNOWN_FLAG, "0x01"),
        (frame(payload(), version=2, flags=4, table=TABLE_HASH), Reason.UNKNOWN_FLAG, "0x04"),
        (frame(payload(), table=1), Reason.MALFORMED, "24 to 31"),
        (frame(payload(), code=0x7777), Reason.UNKNOWN_OP, "0x7777"),
        (frame(b"?", code=0x7777, version=2, table=TABLE_HASH), Reason.UNKNOWN_OP, "0x7777"),
        (frame(payload(), code=0x114, version=2, table=TABLE_HASH), Reason.UNKNOWN_OP, "0x0114"),
        (frame(payload(), code=0xF000, version=2, table=TABLE_HASH), Reason.UNKNOWN_OP, "0xf000"),
        (request(KvGet(NS, b"")), Reason.MALFORMED, "key is empty"),
        (request(KvGet(NS, b"a\x00b")), Reason.MALFORMED, "key contains a NUL"),
        (request(KvGet(b"a\x00b", b"k")), Reason.MALFORMED, "namespace contains a NUL"),
        (
            request(KvGet(b"n" * 64, b"k")),
            Reason.FIELD_TOO_LONG,
            "namespace of 64 bytes: at most 63",
        ),
        (request(KvGet(NS, b"k" * 4089)), Reason.FIELD_TOO_LONG, "key of 4089 bytes: at most 4088"),
        (request(KvGet(NS, b"k" * 4089), 2), Reason.FIELD_TOO_LONG, "at most 4088"),
        (request(KvGet(NS, b"k", 300_001)), Reason.OUT_OF_RANGE, "wait in milliseconds of 300001"),
        (request(KvGet(NS, b"k", 300_001), 2), Reason.OUT_OF_RANGE, "0 to 300000"),
        (request(KvGet(NS, b"k", 300_001, True)), Reason.OUT_OF_RANGE, "0 to 300000"),
        (
            request(KvGet(NS, b"k", routing_key=b"r" * 4097), 2),
            Reason.FIELD_TOO_LONG,
            "routing key of 4097",
        ),
        (request(KvMget(NS, ())), Reason.OUT_OF_RANGE, "number of keys of 0"),
        (request(KvMget(NS, (b"k",) * 257)), Reason.OUT_OF_RANGE, "1 to 256"),
        (request(KvMget(NS, (b"k",) * 257), 2), Reason.OUT_OF_RANGE, "1 to 256"),
        (request(KvMget(NS, (b"k", b""))), Reason.MALFORMED, "key is empty"),
        (request(KvMget(NS, (b"k", b"\x00")), 2), Reason.MALFORMED, "NUL"),
        (request(KvScan(NS, b"", 1001)), Reason.OUT_OF_RANGE, "scan limit of 1001: 0 to 1000"),
        (request(KvScan(NS, b"", 1025), 2), Reason.OUT_OF_RANGE, "1 to 1024"),
        (request(KvScan(NS, b"", 0), 2), Reason.OUT_OF_RANGE, "1 to 1024"),
        (request(KvScan(NS, b"", cursor=b"c" * 65), 2), Reason.FIELD_TOO_LONG, "cursor of 65"),
        (request(KvScan(NS, b"", cursor=b"c" * 4097)), Reason.FIELD_TOO_LONG, "cursor of 4097"),
        (request(KvScan(NS, b"p" * 4089)), Reason.FIELD_TOO_LONG, "4089"),
        (request(KvPut(NS, b"k", b"", 18_446_744_074_000)), Reason.OUT_OF_RANGE, "TTL"),
        (request(KvPut(NS, b"k", b"", 18_446_744_073_710), 2), Reason.OUT_OF_RANGE, "TTL"),
        (request(KvPut(NS, b"k", bytes(253_818)), 2), Reason.FIELD_TOO_LONG, "at most 253817"),
        (
            frame(payload(options=b"\x01\x04" + bytes(4)), code=0x100),
            Reason.MALFORMED,
            "TTL of 4 bytes",
        ),
        (frame(payload(value=b"1234567"), code=0x113), Reason.MALFORMED, "TTL of 7 bytes"),
        (frame(payload(value=b"1234567"), code=0x10B), Reason.MALFORMED, "delta of 7 bytes"),
        (
            frame(payload(options=b"\xe0\x04" + bytes(4))),
            Reason.MALFORMED,
            "option 0xe0 of 4 bytes",
        ),
        (frame(payload(options=b"\xe4\x08" + bytes(8))), Reason.MALFORMED, "option 0xe4"),
        (frame(payload(options=b"\xe3\x01\x02")), Reason.OUT_OF_RANGE, "consistency of 2"),
    ],
)
def test_a_readable_request_outside_the_rules_is_refused_alone(
    data: bytes, reason: Reason, words: str
) -> None:
    item = rejected(data)
    assert not item.close
    assert item.refusal.reason is reason
    assert words in item.refusal.message


def test_values_up_to_the_limit_pass() -> None:
    server = ServerConnection(max_value_bytes=100)
    (item,) = server.receive(request(KvPut(NS, b"k", bytes(100))))
    assert isinstance(item, Request)
    refused = rejected(request(KvPut(NS, b"k", bytes(101))), server)
    assert refused.refusal.reason is Reason.FIELD_TOO_LONG
    assert refused.refusal.message == "value of 101 bytes: at most 100"


def test_the_largest_names_pass() -> None:
    namespace = b"n" * 63
    for revision in (1, 2):
        body = KvIncr(namespace, b"k" * 4032)
        (item,) = ServerConnection().receive(request(body, revision))
        assert isinstance(item, Request)
        assert item.body == body


def test_refusals_to_our_own_client_are_extended() -> None:
    bad = KvGet(NS, b"")
    own = rejected(request(bad, context=CallContext(deadline_ms=1000)))
    assert own.extended
    assert own.encode()[HEADER_BYTES:] == b"\x02\x00\x00key is empty"
    official = rejected(request(bad))
    assert not official.extended
    assert official.encode()[HEADER_BYTES:] == b"key is empty"
    # Even when the tag itself is what is wrong: the sender can only be ours.
    assert rejected(frame(payload(options=b"\xe0\x04" + bytes(4)))).extended


def test_what_ends_the_connection_is_never_extended() -> None:
    item = rejected(frame(payload(b"", b"\x01\x00", b"\xe4\x04" + bytes(4)), code=0x102))
    assert item.close
    assert not item.extended


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"\x99\x03abc", KvGet(NS, b"k")),
        (b"\x17\x02\x10\x00", KvGet(NS, b"k")),
        (b"\x09\x04\x07\x00\x00\x00", KvGet(NS, b"k")),
        (b"\x17\x04\x10\x00\x00\x00\x17\x04\x20\x00\x00\x00", KvGet(NS, b"k", 32)),
        (b"\x18\x04\x10\x00\x00\x00", KvGet(NS, b"k", 16, True)),
    ],
)
def test_options_that_are_not_understood_are_ignored(options: bytes, expected: KvGet) -> None:
    (item,) = ServerConnection().receive(frame(payload(options=options)))
    assert isinstance(item, Request)
    assert item.body == expected
    assert item.context is None


def test_an_empty_namespace_is_the_default_one() -> None:
    without = b"\x00\x00" + payload()[9:]
    (v1,) = ServerConnection().receive(frame(without))
    (v2,) = ServerConnection().receive(request(KvGet(b"", b"k"), 2))
    assert isinstance(v1, Request)
    assert isinstance(v2, Request)
    assert v1.body == v2.body == KvGet(NS, b"k")


def test_old_clients_may_leave_out_the_options_field() -> None:
    (item,) = ServerConnection().receive(frame(payload()[:-2]))
    assert isinstance(item, Request)
    assert item.body == KvGet(NS, b"k")


def test_tags_of_ours_make_a_context_in_any_order() -> None:
    options = (
        b"\xe4\x04\x88\x13\x00\x00" + b"\xe3\x01\x01" + b"\xe1\x08\x09" + bytes(7) + b"\xef\x00"
    )
    (item,) = ServerConnection().receive(frame(payload(options=options)))
    assert isinstance(item, Request)
    assert item.context == CallContext(None, 9, None, True, 5000)
    assert item.extended


def test_a_tag_of_ours_that_is_not_known_yet_still_makes_it_our_client() -> None:
    (item,) = ServerConnection().receive(frame(payload(options=b"\xef\x00")))
    assert isinstance(item, Request)
    assert item.context == CallContext()
    assert item.extended


def test_many_frames_in_one_read_come_in_order() -> None:
    data = b"".join(encode_request(1, n, OPS[0], Ping()) for n in range(1, 501))
    items = ServerConnection().receive(data)
    assert [item.request_id for item in items] == list(range(1, 501))


def test_the_good_frames_before_a_bad_one_are_served() -> None:
    server = ServerConnection()
    first, second, last = server.receive(PING + PING + b"garbage")
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert isinstance(last, Rejected)
    assert last.close
