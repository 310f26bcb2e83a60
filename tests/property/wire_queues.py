"""Requests and results of queues, for the laws of the wire."""

from __future__ import annotations

from hypothesis import strategies as st

from flo.wire import Body, Done, Result
from flo.wire.queue_messages import (
    Enqueued,
    EnqueuedBatch,
    Purged,
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
    QueueSummary,
    QueueTouch,
)


def _names(size: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.integers(1, 255), min_size=1, max_size=size).map(bytes)


_NAMESPACES = _names(63)
_QUEUES = _names(40) | st.integers(1, 4032).map(lambda size: b"q" * size)
_BLOBS = st.binary(max_size=300)
_U64 = st.integers(0, (1 << 64) - 1)
_I64 = st.integers(-(1 << 63), (1 << 63) - 1)
_U32 = st.integers(0, (1 << 32) - 1)
_U8 = st.integers(0, 255)
_DELAYS = st.integers(0, 18_446_744_073_709)
_DEDUP_KEYS = st.none() | st.binary(min_size=1, max_size=255)
_OPTIONAL_MS = st.none() | st.integers(1, (1 << 32) - 1)
_COUNTS = st.integers(1, 100)
_LIMITS = st.none() | st.integers(1, 1000)
_SEQUENCES = st.lists(_U64, max_size=40).map(tuple)

COMMON: st.SearchStrategy[Body] = st.one_of(
    st.builds(QueueEnqueue, _NAMESPACES, _QUEUES, _BLOBS, _U8, _DELAYS, _DEDUP_KEYS),
    st.builds(QueueDequeue, _NAMESPACES, _QUEUES, _COUNTS, st.integers(0, 300_000), _OPTIONAL_MS),
    st.builds(QueuePeek, _NAMESPACES, _QUEUES, _COUNTS),
    st.builds(QueueAck, _NAMESPACES, _QUEUES, _SEQUENCES),
    st.builds(QueueNack, _NAMESPACES, _QUEUES, _SEQUENCES, st.booleans()),
    st.builds(QueueDlqList, _NAMESPACES, _QUEUES, _LIMITS),
    st.builds(QueueDlqRequeue, _NAMESPACES, _QUEUES, _SEQUENCES),
)

V1_ONLY: st.SearchStrategy[Body] = st.one_of(
    st.builds(QueueTouch, _NAMESPACES, _QUEUES, _SEQUENCES, _OPTIONAL_MS),
    st.builds(
        QueueEnqueueBatch,
        _NAMESPACES,
        _QUEUES,
        st.lists(
            st.builds(QueueItem, _BLOBS, _U8, _DELAYS, _DEDUP_KEYS), min_size=1, max_size=20
        ).map(tuple),
    ),
    st.builds(QueueDlqPurge, _NAMESPACES, _QUEUES),
    st.builds(QueuePurge, _NAMESPACES, _QUEUES),
    st.builds(QueueStats, _NAMESPACES, _QUEUES),
    st.builds(QueueList, _NAMESPACES, _QUEUES | st.just(b""), _LIMITS, _BLOBS),
    st.builds(
        QueueConfigure,
        _NAMESPACES,
        _QUEUES,
        st.none() | st.sampled_from((0, 1)),
        _OPTIONAL_MS,
        st.none() | st.integers(1, 0xFFFF),
    ),
)

_ITEMS = (QueueItem(b"a"), QueueItem(b"b"))
_PLAIN = st.builds(QueueMessage, _U64, _BLOBS, st.just(0), st.just(0), st.just(0))
_FULL = st.builds(QueueMessage, _U64, _BLOBS, _I64, _U32, _U8)
_LISTINGS: tuple[Body, ...] = (
    QueueDequeue(b"default", b"q"),
    QueuePeek(b"default", b"q"),
    QueueDlqList(b"default", b"q"),
)


def _messages(
    message: st.SearchStrategy[QueueMessage],
) -> st.SearchStrategy[tuple[Body, Result]]:
    found = st.builds(QueueMessages, st.lists(message, max_size=100).map(tuple))
    return st.tuples(st.sampled_from(_LISTINGS), found)


# With nothing that a plain v1 answer leaves out.
EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(st.just(QueueEnqueue(b"default", b"q", b"m")), st.builds(Enqueued, _U64)),
    st.tuples(st.just(QueueAck(b"default", b"q", (1,))), st.just(Done())),
    st.tuples(st.just(QueueNack(b"default", b"q", (1,))), st.just(Done())),
    st.tuples(st.just(QueueDlqRequeue(b"default", b"q", (1,))), st.just(Done())),
    _messages(_PLAIN),
)
DETAILED_EXCHANGES = _messages(_FULL)

_SUMMARIES = st.builds(QueueSummary, _QUEUES, _U64, _U64, _U64, _U64, _U8)
V1_EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(st.just(QueueTouch(b"default", b"q", (1,))), st.just(Done())),
    st.tuples(
        st.just(QueueEnqueueBatch(b"default", b"q", _ITEMS)),
        st.builds(EnqueuedBatch, st.tuples(_U64, _U64)),
    ),
    st.tuples(st.just(QueueDlqPurge(b"default", b"q")), st.builds(Purged, _U64)),
    st.tuples(st.just(QueuePurge(b"default", b"q")), st.builds(Purged, _U64)),
    st.tuples(st.just(QueueStats(b"default", b"q")), _SUMMARIES),
    st.tuples(
        st.just(QueueList(b"default")),
        st.builds(QueueListing, st.lists(_SUMMARIES, max_size=5).map(tuple), st.none() | _BLOBS),
    ),
    st.tuples(st.just(QueueConfigure(b"default", b"q")), st.just(Done())),
)

TRIED: set[type[Body]] = {
    QueueEnqueue,
    QueueDequeue,
    QueuePeek,
    QueueAck,
    QueueNack,
    QueueDlqList,
    QueueDlqRequeue,
}
TRIED_V1: set[type[Body]] = {
    QueueTouch,
    QueueEnqueueBatch,
    QueueDlqPurge,
    QueuePurge,
    QueueStats,
    QueueList,
    QueueConfigure,
}
