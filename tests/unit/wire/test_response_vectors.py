"""Every answer vector of a served operation: written from the result, and read as it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flo.wire import (
    OPS,
    Answer,
    CallContext,
    ClientConnection,
    Deleted,
    KvGet,
    KvMget,
    KvPut,
    LocalProtocolError,
    ProtocolError,
    Ran,
    Reason,
    Refusal,
    Result,
    Status,
    Stored,
    ValueEntry,
    Values,
    encode_answer,
)
from flo.wire.answers import Call, decode_answer
from flo.wire.frames import HEADER_BYTES, RESPONSE_HEADER
from tests.unit.wire.vectors import (
    OWN_RESPONSES,
    RESPONSES,
    SERVED_RESPONSES,
    answer_of,
    request_of,
)

if TYPE_CHECKING:
    from tests.unit.wire.vector_files import Vector

GET = KvGet(b"default", b"k")


def ids(vector: Vector) -> str:
    return vector.name


def is_continued(vector: Vector) -> bool:
    return vector.op.name == "kv.mget" and len(vector.frames) > 1


def may_be_sent(vector: Vector) -> bool:
    note = str(vector.args.get("note"))
    return "an empty OK body" not in note and "a not-found body" not in note


ANSWERS = [v for v in (*SERVED_RESPONSES, *OWN_RESPONSES) if not is_continued(v)]
ERRORS = [v for v in RESPONSES if v.op_name == "error" and "status" in str(v.row["raises"])]
NUMBERED = [v for v in (*ANSWERS, *ERRORS) if RESPONSE_HEADER.unpack_from(v.frame)[2]]
BAD_FRAMES = [v for v in RESPONSES if v.op_name == "bad frame"]


def extended(vector: Vector) -> bool:
    return vector.row.get("extended") is True


def decoded(vector: Vector) -> Result | Refusal:
    codec = vector.op.v1 if vector.revision == 1 else vector.op.v2
    assert codec is not None
    call = Call(vector.revision, codec, request_of(vector), extended(vector))
    status = RESPONSE_HEADER.unpack_from(vector.frame)[5]
    return decode_answer(call, status, vector.frame[HEADER_BYTES:])


def received(vector: Vector, *pieces: bytes) -> list[Answer]:
    """What a client makes of an answer that comes in these pieces: nothing before the last."""
    client = ClientConnection()
    context = CallContext(None, None, None, False, 1000) if extended(vector) else None
    for _ in range(RESPONSE_HEADER.unpack_from(vector.frame)[2]):
        client.request(request_of(vector), context=context, revision=vector.revision)
    for piece in pieces[:-1]:
        assert client.receive(piece) == []
    return client.receive(pieces[-1])


def plain(answer: Result | Refusal, revision: int) -> Result | Refusal:
    """Without what a plain v1 refusal cannot say."""
    if isinstance(answer, Refusal) and revision == 1:
        return Refusal(Reason.UNCLASSIFIED, Ran.NO, answer.message, answer.v1_status)
    return answer


# The SDKs accept a put's empty answer: we always send the version. One takes the words of "not
# found" for a version: we send none.
@pytest.mark.parametrize("vector", [v for v in ANSWERS if may_be_sent(v)], ids=ids)
def test_is_written_byte_for_byte(vector: Vector) -> None:
    request_id = RESPONSE_HEADER.unpack_from(vector.frame)[2]
    frame = encode_answer(
        vector.revision, request_id, vector.op, answer_of(vector), extended=extended(vector)
    )
    assert frame.hex() == vector.frame.hex()


@pytest.mark.parametrize("vector", ANSWERS, ids=ids)
def test_is_read_as_the_result(vector: Vector) -> None:
    expected = answer_of(vector)
    if extended(vector):
        assert decoded(vector) == expected
    elif vector.revision == 2 and isinstance(expected, Refusal) and not vector.frame[35:]:
        assert decoded(vector) == expected._replace(message="")
    else:
        assert plain(decoded(vector), vector.revision) == plain(expected, vector.revision)


@pytest.mark.parametrize("vector", NUMBERED, ids=ids)
def test_waits_for_the_rest_wherever_it_is_cut(vector: Vector) -> None:
    whole = received(vector, vector.frame)
    assert [answer.request_id for answer in whole] == [RESPONSE_HEADER.unpack_from(vector.frame)[2]]
    for at in range(1, len(vector.frame)):
        assert received(vector, vector.frame[:at], vector.frame[at:]) == whole


@pytest.mark.parametrize("vector", ERRORS, ids=ids)
def test_refusals_of_every_status(vector: Vector) -> None:
    raises = vector.row["raises"]
    assert isinstance(raises, dict)
    if raises.get("status") == 200:
        answer = decoded(vector)
        assert answer == Refusal(Reason.UNCLASSIFIED, Ran.NO, "?")
        return
    expected = answer_of(vector)
    assert plain(decoded(vector), vector.revision) == plain(expected, vector.revision)
    assert encode_answer(vector.revision, 1, vector.op, expected) == vector.frame


def test_an_mget_answered_in_two_parts() -> None:
    (vector,) = (v for v in RESPONSES if v.op_name == "kv.mget" and len(v.frames) > 1)
    whole = answer_of(vector)
    assert isinstance(whole, Values)
    first = Values(whole.entries[:1], 1)
    rest = Values(whole.entries[1:])
    client = ClientConnection()
    client.request(KvMget(b"default", (b"a", b"b", b"c")), revision=2)
    assert [a.result for a in client.receive(vector.frames[0])] == [first]
    # The SDK numbers the second request 1 again: it opened another connection for the recording.
    client = ClientConnection()
    client.request(KvMget(b"default", (b"b", b"c")), revision=2)
    assert [a.result for a in client.receive(vector.frames[1])] == [rest]
    assert encode_answer(2, 1, OPS[0x102], first) == vector.frames[0]
    assert encode_answer(2, 1, OPS[0x102], rest) == vector.frames[1]


@pytest.mark.parametrize("vector", BAD_FRAMES, ids=ids)
def test_frames_no_server_may_send(vector: Vector) -> None:
    client = ClientConnection()
    client.request(GET, revision=vector.revision)
    with pytest.raises(ProtocolError):
        client.receive(vector.frame)


@pytest.mark.parametrize("body", ["", "63000000", "0d0003", "0d00"])
def test_a_refusal_with_unknown_parts(body: str) -> None:
    codec = OPS[0x101].v2
    assert codec is not None
    with pytest.raises(ProtocolError):
        decode_answer(Call(2, codec, GET, False), Status.BAD_REQUEST, bytes.fromhex(body))


def test_an_empty_v1_put_answer_is_a_put_without_a_version() -> None:
    codec = OPS[0x100].v1
    assert codec is not None
    call = Call(1, codec, KvPut(b"default", b"k", b"v"), False)
    assert decode_answer(call, Status.OK, b"") == Stored(None)


def test_v1_not_found_is_empty_for_official_clients_only() -> None:
    refusal = Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")
    assert encode_answer(1, 1, OPS[0x101], refusal)[HEADER_BYTES:] == b""
    body = encode_answer(1, 1, OPS[0x101], refusal, extended=True)[HEADER_BYTES:]
    assert body == b"\x0d\x00\x00no such key"
    assert encode_answer(1, 1, OPS[0x103], Deleted(False))[HEADER_BYTES:] == b""


def test_v1_cannot_continue_an_mget() -> None:
    values = Values((ValueEntry(b"a", True, 1, b"x"),), 1)
    with pytest.raises(LocalProtocolError, match="v1"):
        encode_answer(1, 1, OPS[0x102], values)


def test_an_answer_in_a_revision_without_the_operation() -> None:
    with pytest.raises(LocalProtocolError, match=r"revision 2 has no kv\.persist"):
        encode_answer(2, 1, OPS[0x114], Stored(1))


def test_a_reason_of_ours_is_unclassified_for_official_clients() -> None:
    refusal = Refusal(Reason.SESSION_UNKNOWN, Ran.NO, "unknown session")
    frame = encode_answer(2, 1, OPS[0x100], refusal)
    assert RESPONSE_HEADER.unpack_from(frame)[5] == Status.UNAVAILABLE
    assert frame[HEADER_BYTES:] == b"\x0c\x00\x00unknown session"


def test_every_answer_is_of_an_operation_that_some_request_names() -> None:
    """So the answers of an operation are tested from the day it is served, whatever its name."""
    assert [v.name for v in RESPONSES if v.code is None and v not in BAD_FRAMES] == []
