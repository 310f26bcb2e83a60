"""Whatever can be asked or answered reads back as it was written, in every revision that has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flo.wire import (
    OP_OF_REQUEST,
    OPS,
    Answer,
    Body,
    CallContext,
    CancelWait,
    ClientConnection,
    ClusterStatus,
    ClusterStatusRequest,
    Counter,
    Deleted,
    Done,
    Exists,
    History,
    HistoryEntry,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvHistory,
    KvIncr,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    KvMget,
    KvPut,
    KvScan,
    OpenSession,
    Page,
    PageEntry,
    PartitionRow,
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    Ran,
    Reason,
    Refusal,
    Request,
    Result,
    ServerConnection,
    SessionOpened,
    Stored,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnCommitted,
    TxnRollback,
    Value,
    ValueEntry,
    Values,
    encode_answer,
    encode_request,
)
from tests.property import wire_queues, wire_streams

NO_NUL = st.integers(1, 255)


def names(size: int) -> st.SearchStrategy[bytes]:
    return st.lists(NO_NUL, min_size=1, max_size=size).map(bytes)


NAMESPACES = names(63)
KEYS = names(40) | st.integers(1, 4032).map(lambda size: b"k" * size)
BLOBS = st.binary(max_size=300)
U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
U32 = st.integers(0, (1 << 32) - 1)
U16 = st.integers(0, 0xFFFF)
OPTIONAL_U64 = st.none() | U64
ROUTING_KEYS = st.none() | st.binary(max_size=255)
# The key of a transaction, where an option would have no room for it.
LONG_ROUTING_KEYS = st.binary(min_size=1, max_size=300) | st.just(b"r" * 4096)
TTLS = st.integers(1, 18_446_744_073_709)
WAITS = st.integers(0, 300_000)
PATHS = st.binary(max_size=100) | st.integers(0, 1024).map(lambda size: b"p" * size)

CONTEXTS = st.none() | st.builds(
    CallContext, OPTIONAL_U64, OPTIONAL_U64, OPTIONAL_U64, st.booleans(), st.none() | U32
)

# What both revisions can say.
COMMON: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        KvPut,
        NAMESPACES,
        KEYS,
        BLOBS,
        st.none() | TTLS,
        st.booleans(),
        st.just(False),
        OPTIONAL_U64,
        ROUTING_KEYS,
        OPTIONAL_U64,
    ),
    st.builds(KvGet, NAMESPACES, KEYS, WAITS, st.booleans(), ROUTING_KEYS, OPTIONAL_U64),
    st.builds(
        KvMget,
        NAMESPACES,
        st.lists(names(40), min_size=1, max_size=256).map(tuple),
        ROUTING_KEYS,
    ),
    st.builds(KvDelete, NAMESPACES, KEYS, OPTIONAL_U64, ROUTING_KEYS, OPTIONAL_U64),
    st.builds(
        KvScan,
        NAMESPACES,
        KEYS | st.just(b""),
        st.integers(1, 1000),
        st.binary(max_size=64),
        st.just(True),
    ),
    st.builds(KvIncr, NAMESPACES, KEYS, I64, ROUTING_KEYS, OPTIONAL_U64),
    st.builds(
        KvExpire, NAMESPACES, KEYS, TTLS | st.just(0), OPTIONAL_U64, ROUTING_KEYS, OPTIONAL_U64
    ),
    st.builds(KvExists, NAMESPACES, KEYS, ROUTING_KEYS, OPTIONAL_U64),
    st.builds(KvHistory, NAMESPACES, KEYS, st.none() | st.integers(1, 65), ROUTING_KEYS),
    st.builds(KvJsonGet, NAMESPACES, KEYS, PATHS, ROUTING_KEYS),
    st.builds(KvJsonSet, NAMESPACES, KEYS, PATHS, BLOBS, ROUTING_KEYS),
    st.builds(KvJsonDelete, NAMESPACES, KEYS, PATHS, ROUTING_KEYS),
    st.builds(TxnBegin, NAMESPACES, LONG_ROUTING_KEYS),
    st.builds(TxnCommit, NAMESPACES, st.none(), U64),
    st.builds(TxnRollback, NAMESPACES, st.none(), U64),
    st.builds(Ping),
)

V1_ONLY: st.SearchStrategy[Body] = st.one_of(
    st.builds(TxnCommit, NAMESPACES, LONG_ROUTING_KEYS, U64),
    st.builds(TxnRollback, NAMESPACES, LONG_ROUTING_KEYS, U64),
    st.builds(PartitionTableRequest),
    st.builds(OpenSession, U16),
    st.builds(CancelWait, U64),
    st.builds(ClusterStatusRequest, st.none() | U16, st.booleans()),
    st.builds(KvScan, NAMESPACES, KEYS, st.none(), BLOBS, st.booleans()),
    st.builds(
        KvPut,
        NAMESPACES,
        KEYS,
        BLOBS,
        st.none(),
        st.just(True),
        st.just(True),
        OPTIONAL_U64,
        ROUTING_KEYS,
        OPTIONAL_U64,
    ),
)


def sent(body: Body, context: CallContext | None, revision: int) -> Request:
    frame = encode_request(revision, 1, OP_OF_REQUEST[type(body)], body, context)
    (item,) = ServerConnection().receive(frame)
    assert isinstance(item, Request)
    return item


@given(
    COMMON
    | V1_ONLY
    | wire_queues.COMMON
    | wire_queues.V1_ONLY
    | wire_streams.COMMON
    | wire_streams.V1_ONLY,
    CONTEXTS,
)
def test_v1_requests(body: Body, context: CallContext | None) -> None:
    item = sent(body, context, 1)
    assert item.body == body
    # A TTL below a second and a batch have tags of ours, which alone make a request one of ours.
    assert item.context == context or (context is None and item.context == CallContext())


@given(COMMON | wire_queues.COMMON | wire_streams.COMMON)
def test_v2_requests(body: Body) -> None:
    item = sent(body, None, 2)
    assert item.body == body
    assert item.context is None


ADDRESSES = st.text(max_size=30)
GET = KvGet(b"default", b"k")
TWO = KvMget(b"default", (b"a", b"b"))
ENTRIES = st.tuples(
    *(st.builds(ValueEntry, st.just(key), st.booleans(), U64, BLOBS) for key in TWO.keys)
)

# A request, and a result that both revisions can give it.
EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(st.just(Ping()), st.just(Pong())),
    st.tuples(
        st.just(KvPut(b"default", b"k", b"v")),
        st.builds(Stored, st.none() | st.integers(1, (1 << 64) - 1)),
    ),
    st.tuples(st.just(GET), st.builds(Value, U64, BLOBS)),
    st.tuples(st.just(TWO), st.builds(Values, ENTRIES, st.none())),
    st.tuples(st.just(KvDelete(b"default", b"k")), st.builds(Deleted, st.booleans())),
    st.tuples(st.just(KvDelete(b"default", b"k", txn=1)), st.just(Deleted(None))),
    st.tuples(
        st.just(KvScan(b"default", b"")),
        st.builds(
            Page,
            st.lists(st.builds(PageEntry, KEYS, st.just(b""))).map(tuple),
            st.none() | st.binary(min_size=1, max_size=64),
        ),
    ),
    st.tuples(st.just(KvIncr(b"default", b"k")), st.builds(Counter, U64, I64)),
    st.tuples(st.just(KvExpire(b"default", b"k", 1000)), st.just(Done())),
    st.tuples(st.just(KvExists(b"default", b"k")), st.builds(Exists, st.booleans(), U64)),
    st.tuples(
        st.just(KvHistory(b"default", b"k")),
        st.builds(
            History,
            st.lists(st.builds(HistoryEntry, U64, I64, BLOBS), max_size=255).map(tuple),
        ),
    ),
    st.tuples(st.just(KvJsonGet(b"default", b"k")), st.builds(Value, U64, BLOBS)),
    st.tuples(st.just(KvJsonSet(b"default", b"k", b"$", b"1")), st.builds(Stored, U64)),
    st.tuples(st.just(KvJsonDelete(b"default", b"k")), st.builds(Stored, OPTIONAL_U64)),
    st.tuples(st.just(TxnBegin(b"default", b"r")), st.builds(TxnBegun, U64, U64)),
    st.tuples(st.just(TxnCommit(b"default", None, 7)), st.builds(TxnCommitted, U64, U16)),
    st.tuples(st.just(TxnRollback(b"default", None, 7)), st.just(Done())),
)

V1_EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(st.just(KvIncr(b"default", b"k", txn=1)), st.builds(Counter, st.none(), I64)),
    st.tuples(
        st.just(KvScan(b"default", b"")),
        st.builds(
            Page,
            st.lists(st.builds(PageEntry, KEYS, BLOBS)).map(tuple),
            st.none() | BLOBS,
        ),
    ),
    st.tuples(
        st.just(PartitionTableRequest()),
        st.builds(
            PartitionTable,
            U64,
            st.lists(
                st.builds(
                    PartitionRow, st.none() | ADDRESSES, st.lists(ADDRESSES, max_size=7).map(tuple)
                )
            ).map(tuple),
        ),
    ),
    st.tuples(st.just(OpenSession(1)), st.builds(SessionOpened, U64)),
    st.tuples(st.just(CancelWait(1)), st.just(Done())),
    st.tuples(st.just(ClusterStatusRequest()), st.builds(ClusterStatus, BLOBS)),
)

REFUSALS = st.builds(
    Refusal, st.sampled_from(Reason), st.sampled_from(Ran), st.text(max_size=50), st.none()
)


def answered(
    body: Body, result: Result | Refusal, revision: int, context: CallContext | None
) -> Result | Refusal:
    client = ClientConnection()
    request_id, _ = client.request(body, context=context, revision=revision)
    extended = context is not None
    frame = encode_answer(
        revision, request_id, OP_OF_REQUEST[type(body)], result, extended=extended
    )
    (answer,) = client.receive(frame)
    assert answer == Answer(request_id, answer.result)
    return answer.result


@given(
    EXCHANGES
    | V1_EXCHANGES
    | wire_queues.EXCHANGES
    | wire_queues.V1_EXCHANGES
    | wire_streams.EXCHANGES
    | wire_streams.V1_EXCHANGES,
    st.sampled_from([None, CallContext()]),
)
def test_v1_results(exchange: tuple[Body, Result], context: CallContext | None) -> None:
    body, result = exchange
    assert answered(body, result, 1, context) == result


@given(EXCHANGES | wire_queues.EXCHANGES | wire_streams.EXCHANGES)
def test_v2_results(exchange: tuple[Body, Result]) -> None:
    body, result = exchange
    assert answered(body, result, 2, None) == result


@given(wire_queues.DETAILED_EXCHANGES)
def test_the_details_of_messages_reach_v2_and_our_own_client(
    exchange: tuple[Body, Result],
) -> None:
    body, result = exchange
    assert answered(body, result, 1, CallContext()) == result
    assert answered(body, result, 2, None) == result


@given(REFUSALS)
def test_refusals_to_our_own_client(refusal: Refusal) -> None:
    assert answered(GET, refusal, 1, CallContext()) == refusal


@given(REFUSALS.filter(lambda refusal: refusal.reason <= Reason.WORKER_DRAINING))
def test_refusals_in_v2(refusal: Refusal) -> None:
    assert answered(GET, refusal, 2, None) == refusal


@given(REFUSALS)
def test_plain_refusals_keep_the_status(refusal: Refusal) -> None:
    seen = answered(GET, refusal, 1, None)
    assert isinstance(seen, Refusal)
    assert seen.v1_status is refusal.v1_status


@pytest.mark.parametrize("code", sorted(OPS))
def test_every_operation_is_tried(code: int) -> None:
    """The strategies above cover the registry; persist shares the type of expire."""
    tried = {KvPut, KvGet, KvMget, KvDelete, KvScan, KvIncr, KvExpire, KvExists, Ping}
    tried |= {KvHistory, KvJsonGet, KvJsonSet, KvJsonDelete, TxnBegin, TxnCommit, TxnRollback}
    tried_v1 = {PartitionTableRequest, OpenSession, CancelWait, ClusterStatusRequest}
    tried |= wire_queues.TRIED | wire_streams.TRIED
    tried_v1 |= wire_queues.TRIED_V1 | wire_streams.TRIED_V1
    assert OPS[code].request in tried | tried_v1
    assert OPS[code].v2 is None or OPS[code].request in tried
