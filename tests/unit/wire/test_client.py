"""Numbering, matching, and what breaks a client's connection."""

from __future__ import annotations

import pytest

from flo.wire import (
    OPS,
    Answer,
    CallContext,
    ClientConnection,
    Deleted,
    Done,
    KvDelete,
    KvExpire,
    KvGet,
    KvPut,
    LocalProtocolError,
    OpenSession,
    Page,
    Ping,
    Pong,
    ProtocolError,
    Ran,
    Reason,
    Refusal,
    Rejected,
    Request,
    ServerConnection,
    Status,
    Stored,
    Value,
    encode_answer,
    encode_request,
)
from flo.wire.answers import encode_refusal
from flo.wire.frames import response_frame

GET = KvGet(b"default", b"k")
PUT = KvPut(b"default", b"k", b"v")
OWN = CallContext(deadline_ms=1000)
NOT_FOUND = Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")


def test_requests_are_numbered_from_1() -> None:
    client = ClientConnection()
    ids = [client.request(Ping())[0] for _ in range(3)]
    assert ids == [1, 2, 3]
    assert client.outstanding == 3


def test_answers_match_by_id_in_any_order() -> None:
    client = ClientConnection()
    put, _ = client.request(PUT, context=OWN)
    get, _ = client.request(GET, context=OWN)
    data = encode_answer(1, get, OPS[0x101], Value(3, b"v")) + encode_answer(
        1, put, OPS[0x100], Stored(3)
    )
    assert client.receive(data) == [Answer(get, Value(3, b"v")), Answer(put, Stored(3))]
    assert client.outstanding == 0


@pytest.mark.parametrize("revision", [1, 2])
def test_a_refusal_keeps_reason_and_ran(revision: int) -> None:
    client = ClientConnection()
    context = OWN if revision == 1 else None
    request_id, data = client.request(PUT, context=context, revision=revision)
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Request)
    lost = Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, "leader changed")
    answer = encode_answer(revision, request_id, item.op, lost, extended=item.extended)
    assert client.receive(answer) == [Answer(request_id, lost)]


@pytest.mark.parametrize(
    ("refusal", "seen"),
    [
        (NOT_FOUND, Refusal(Reason.NOT_FOUND, Ran.NO, "")),
        (
            Refusal(Reason.WRONG_ROUTING_KEY, Ran.NO, "other partition"),
            Refusal(Reason.WRONG_ROUTING_KEY, Ran.NO, "other partition"),
        ),
        (
            Refusal(Reason.CAS_MISMATCH, Ran.NO, "version is 4"),
            Refusal(Reason.UNCLASSIFIED, Ran.NO, "version is 4", Status.CONFLICT),
        ),
        (
            Refusal(Reason.LEADER_UNKNOWN, Ran.NO, "no leader"),
            Refusal(Reason.UNCLASSIFIED, Ran.UNKNOWN, "no leader", Status.UNAVAILABLE),
        ),
    ],
)
def test_a_plain_v1_refusal_says_what_its_status_says(refusal: Refusal, seen: Refusal) -> None:
    client = ClientConnection()
    client.request(GET)
    (answer,) = client.receive(encode_answer(1, 1, OPS[0x101], refusal))
    assert answer.result == seen


@pytest.mark.parametrize("context", [None, OWN])
@pytest.mark.parametrize("existed", [True, False])
def test_v1_delete_says_whether_the_key_was_there(
    context: CallContext | None, existed: bool
) -> None:
    client = ClientConnection()
    client.request(KvDelete(b"default", b"k"), context=context)
    data = encode_answer(1, 1, OPS[0x103], Deleted(existed), extended=context is not None)
    assert client.receive(data) == [Answer(1, Deleted(existed))]


def test_a_v1_delete_in_a_transaction_says_nothing() -> None:
    client = ClientConnection()
    client.request(KvDelete(b"default", b"k", txn=7))
    assert client.receive(encode_answer(1, 1, OPS[0x103], Deleted(None))) == [
        Answer(1, Deleted(None))
    ]


def test_a_ttl_below_a_second_is_exact_between_our_own() -> None:
    client = ClientConnection()
    body = KvExpire(b"default", b"k", 1)
    _, data = client.request(body)
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Request)
    assert item.body == body
    # The tag that carries it is one of ours, so both sides speak the extended form.
    assert item.extended
    refusal = encode_answer(1, 1, item.op, NOT_FOUND, extended=item.extended)
    assert client.receive(refusal) == [Answer(1, NOT_FOUND)]


@pytest.mark.parametrize("revision", [1, 2])
def test_id_0_is_about_what_we_sent(revision: int) -> None:
    client = ClientConnection()
    client.request(GET, context=OWN)
    refusal = Refusal(Reason.MALFORMED, Ran.NO, "bad frame")
    with pytest.raises(ProtocolError, match="bad frame"):
        client.receive(encode_refusal(revision, 0, refusal))


def test_answers_before_a_broken_frame_are_not_lost() -> None:
    client = ClientConnection()
    client.request(Ping())
    client.request(Ping())
    assert client.receive(encode_answer(1, 1, OPS[0], Pong()) + b"HTTP") == [Answer(1, Pong())]
    assert client.failure is not None
    for _ in range(2):
        with pytest.raises(ProtocolError, match="magic"):
            client.receive(encode_answer(1, 2, OPS[0], Pong()))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"nope", "magic"),
        (encode_answer(1, 2, OPS[0x101], Value(1, b"")), "request 2, which is not outstanding"),
        (encode_answer(2, 1, OPS[0x101], Value(1, b"")), "v2 answer to the v1 request 1"),
        (response_frame(1, 0, Status.OK, b""), "request 0"),
        (response_frame(1, 1, Status.OK, b"1234567"), "8 bytes"),
        (response_frame(1, 1, Status.CONFLICT, b"\x0f"), "a refusal of 1 bytes"),
        (response_frame(1, 1, Status.CONFLICT, b"\x1d\x00\x00"), "unknown reason 29"),
        (b"FLO\x00" + (1 << 20).to_bytes(4, "little") + bytes(24), "answer of 1048576 bytes"),
        (encode_answer(1, 1, OPS[0x101], Value(1, b""))[:-1] + b"\x01", "checksum"),
    ],
)
def test_what_breaks_the_connection(data: bytes, words: str) -> None:
    client = ClientConnection(max_frame_bytes=1000)
    client.request(GET, context=OWN)
    with pytest.raises(ProtocolError, match=words):
        client.receive(data)


def test_more_keys_than_asked_for() -> None:
    client = ClientConnection()
    client.request(GET, revision=2)
    with pytest.raises(ProtocolError, match="left over"):
        client.receive(response_frame(2, 1, Status.OK, bytes(13)))


def test_the_number_of_outstanding_requests_is_bounded() -> None:
    client = ClientConnection(max_outstanding=2)
    client.request(Ping())
    client.request(Ping())
    with pytest.raises(LocalProtocolError, match="2 requests are outstanding"):
        client.request(Ping())
    client.receive(encode_answer(1, 1, OPS[0], Pong()))
    assert client.request(Ping())[0] == 3


def test_a_request_that_cannot_be_written_is_not_outstanding() -> None:
    client = ClientConnection()
    for body, revision, words in (
        (KvGet(b"default", b"k" * 65_536), 1, "65536"),
        (KvGet(b"default", b"k", routing_key=b"r" * 256), 1, "at most 255"),
        (KvGet(b"default", b"k", wait_ms=-1), 1, "does not fit"),
        (KvPut(b"default", b"k", b"", if_absent=True, if_present=True), 2, "choose one"),
        (OpenSession(1), 2, r"no cluster\.open_session: send it as v1"),
    ):
        with pytest.raises(LocalProtocolError, match=words):
            client.request(body, revision=revision)
    for context in (CallContext(deadline_ms=-1), CallContext(1, 1, 1 << 64, False, 1)):
        with pytest.raises(LocalProtocolError, match="does not fit"):
            client.request(GET, context=context)
    with pytest.raises(LocalProtocolError, match="context"):
        client.request(GET, context=OWN, revision=2)
    assert client.outstanding == 0
    assert client.request(Ping())[0] == 1


def test_persist_can_only_clear() -> None:
    with pytest.raises(LocalProtocolError, match="1000 ms"):
        encode_request(1, 1, OPS[0x114], KvExpire(b"default", b"k", 1000))


def test_the_last_page_alone_has_no_cursor() -> None:
    for op, revision in ((OPS[0x104], 1), (OPS[0x104], 2)):
        more = encode_answer(revision, 1, op, Page((), b""))
        last = encode_answer(revision, 1, op, Page((), None))
        assert more != last


def test_an_answer_whose_data_is_ignored() -> None:
    client = ClientConnection()
    client.request(KvExpire(b"default", b"k", 1000))
    assert client.receive(response_frame(1, 1, Status.OK, b"anything")) == [Answer(1, Done())]


def test_a_rejection_reaches_the_caller_who_caused_it() -> None:
    client = ClientConnection()
    client.request(KvGet(b"default", b""), context=OWN)
    _, data = ClientConnection().request(KvGet(b"default", b""), context=OWN)
    (item,) = ServerConnection().receive(data)
    assert isinstance(item, Rejected)
    assert client.receive(item.encode()) == [Answer(1, item.refusal)]
