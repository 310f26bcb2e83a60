"""Requests and results of streams and groups, for the laws of the wire."""

from __future__ import annotations

from hypothesis import strategies as st

from flo.wire import (
    Appended,
    Body,
    Claimed,
    ConsumerSummary,
    Deleted,
    Done,
    GroupAck,
    GroupClaim,
    GroupConfigure,
    GroupCreate,
    GroupDelete,
    GroupInfo,
    GroupInfoResult,
    GroupJoin,
    GroupLeave,
    GroupMode,
    GroupNack,
    GroupPending,
    GroupRead,
    GroupSettings,
    GroupTouch,
    PendingEntry,
    PendingList,
    Records,
    Result,
    Retention,
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamId,
    StreamInfo,
    StreamInfoResult,
    StreamItem,
    StreamList,
    StreamListing,
    StreamRead,
    StreamRecord,
    StreamSummary,
    StreamTrim,
    Trimmed,
)

NS, S, G, C = b"default", b"events", b"g", b"w1"


def _names(size: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.integers(1, 255), min_size=1, max_size=size).map(bytes)


_BLOBS = st.binary(max_size=300)
_U64 = st.integers(0, (1 << 64) - 1)
_U32 = st.integers(0, (1 << 32) - 1)
_U16 = st.integers(0, 0xFFFF)
_U8 = st.integers(0, 255)
_TEXTS = st.text(max_size=40).map(str.encode)
_MEMBERS = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=60)
_GROUPS = _MEMBERS.map(str.encode) | st.just(b"g" * 255)
_PARTITION_KEYS = st.none() | st.binary(max_size=255)
_LIMITS = st.integers(1, 1000)
_WAITS = st.integers(0, 300_000)
_AGES = st.integers(1, 18_446_744_073)
# Of an append's answer and a record, whose time is signed; those of a request are not.
_TIMES = st.integers(0, (1 << 63) - 1)
_IDS = st.builds(StreamId, _U64, _U64)
_RECORD_IDS = st.builds(StreamId, _TIMES, _U64)
_ACKED = st.lists(_IDS, max_size=40).map(tuple)
_HEADERS = st.lists(st.tuples(_TEXTS, _TEXTS), max_size=4).map(tuple)
_ITEMS = st.lists(st.builds(StreamItem, _BLOBS, _HEADERS), min_size=1, max_size=20).map(tuple)
_WHERE = (_names(63), _names(40) | st.just(b"s" * 4032))
_GROUP = (*_WHERE, _GROUPS)
_MEMBER = (*_GROUP, _GROUPS)
_MEMBER_OR_NOBODY = (*_GROUP, _GROUPS | st.just(b""))
_NOT_ZERO = st.none() | st.integers(1, (1 << 64) - 1)
_RETENTIONS = st.builds(
    Retention, st.none() | _U64, st.none() | _AGES | st.just(0), st.none() | _U64
)
_SETTINGS = st.builds(
    GroupSettings, st.none() | _U32, st.none() | _U8, st.none() | _U16, st.none() | _U16
)
_BEFORE = _IDS.filter(lambda one: one != (0, 0))


def _trim(*bounds: st.SearchStrategy[object]) -> st.SearchStrategy[Body]:
    return st.builds(StreamTrim, *_WHERE, *bounds, st.booleans())


_NONE = st.none()

COMMON: st.SearchStrategy[Body] = st.one_of(
    st.builds(StreamAppend, *_WHERE, _ITEMS, st.none() | _U32, _PARTITION_KEYS),
    st.builds(
        StreamRead,
        *_WHERE,
        st.none() | _IDS,
        st.none() | _IDS,
        st.booleans(),
        st.none() | _U32,
        _LIMITS,
        _WAITS,
        _PARTITION_KEYS,
    ),
    st.builds(StreamInfo, *_WHERE),
    _trim(_BEFORE, _NONE, _NONE, _NONE),
    _trim(_NONE, st.integers(1, (1 << 64) - 1), _NONE, _NONE),
    _trim(_NONE, _NONE, _AGES, _NONE),
    st.builds(GroupJoin, *_MEMBER),
    st.builds(GroupLeave, *_MEMBER),
    st.builds(GroupRead, *_MEMBER, _LIMITS, _WAITS),
    st.builds(GroupAck, *_MEMBER_OR_NOBODY, _ACKED),
    st.builds(GroupNack, *_MEMBER_OR_NOBODY, _ACKED, _U32),
    st.builds(GroupClaim, *_MEMBER, _U32, _IDS, _LIMITS),
    st.builds(GroupPending, *_GROUP, st.none() | _GROUPS),
)

V1_ONLY: st.SearchStrategy[Body] = st.one_of(
    _trim(_BEFORE, _NOT_ZERO, st.none() | _AGES, _NOT_ZERO),
    st.builds(StreamCreate, *_WHERE, st.integers(1, 1024), _RETENTIONS),
    st.builds(StreamAlter, *_WHERE, _RETENTIONS),
    st.builds(StreamDelete, *_WHERE, st.booleans()),
    st.builds(StreamList, _names(63), _names(40) | st.just(b""), st.none() | _LIMITS, _BLOBS),
    st.builds(GroupCreate, *_GROUP, st.sampled_from(GroupMode), _IDS, st.just(False), _SETTINGS),
    st.builds(GroupCreate, *_GROUP, st.sampled_from(GroupMode), _NONE, st.booleans(), _SETTINGS),
    st.builds(GroupConfigure, *_GROUP, _SETTINGS),
    st.builds(GroupDelete, *_GROUP),
    st.builds(GroupInfo, *_GROUP),
    st.builds(GroupTouch, *_MEMBER_OR_NOBODY, _ACKED, st.none() | _U32),
)

_RECORD_FIELDS = (_RECORD_IDS, _BLOBS, _HEADERS, _U32)
_RECORDS = st.lists(
    st.builds(StreamRecord, *_RECORD_FIELDS, st.integers(0, 1), _BLOBS), max_size=20
).map(tuple)
_SUMMARIES = st.builds(StreamSummary, _names(40), _U64, _U64, _U32, _IDS)
_NEXT = st.none() | _IDS.filter(lambda one: one != ((1 << 64) - 1, (1 << 64) - 1))
_KNOWN_SETTINGS = st.builds(GroupSettings, _U32, _U8, _U16, _U16)
_CONSUMERS = st.builds(ConsumerSummary, _GROUPS, _U64, st.booleans())
_ACK = GroupAck(NS, S, G, b"", ())

EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(st.just(StreamAppend(NS, S, (StreamItem(b"e"),))), st.builds(Appended, _RECORD_IDS)),
    st.tuples(
        st.just(StreamRead(NS, S)) | st.just(GroupRead(NS, S, G, C)), st.builds(Records, _RECORDS)
    ),
    st.tuples(
        st.just(StreamInfo(NS, S)), st.builds(StreamInfoResult, _IDS, _IDS, _U64, _U64, _U32)
    ),
    st.tuples(st.just(StreamTrim(NS, S, max_len=1)), st.builds(Trimmed, _U64, _U64)),
    st.tuples(
        st.sampled_from((GroupJoin(NS, S, G, C), GroupLeave(NS, S, G, C), _ACK)), st.just(Done())
    ),
    st.tuples(st.just(GroupNack(NS, S, G, b"", ())), st.just(Done())),
    st.tuples(st.just(GroupClaim(NS, S, G, C, 0)), st.builds(Claimed, _RECORDS, _NEXT)),
    st.tuples(
        st.just(GroupPending(NS, S, G)),
        st.builds(
            PendingList,
            st.lists(st.builds(PendingEntry, _IDS, _U32, _GROUPS), max_size=20).map(tuple),
        ),
    ),
)

V1_EXCHANGES: st.SearchStrategy[tuple[Body, Result]] = st.one_of(
    st.tuples(
        st.just(StreamRead(NS, S)),
        st.builds(Records, st.tuples(st.builds(StreamRecord, *_RECORD_FIELDS, st.integers(2, 3)))),
    ),
    st.tuples(
        st.sampled_from(
            (
                StreamCreate(NS, S),
                StreamAlter(NS, S),
                GroupCreate(NS, S, G),
                GroupConfigure(NS, S, G),
                GroupTouch(NS, S, G, b"", ()),
            )
        ),
        st.just(Done()),
    ),
    st.tuples(
        st.sampled_from((StreamDelete(NS, S), GroupDelete(NS, S, G))),
        st.builds(Deleted, st.booleans()),
    ),
    st.tuples(
        st.just(StreamList(NS)),
        st.builds(StreamListing, st.lists(_SUMMARIES, max_size=20).map(tuple), st.none() | _BLOBS),
    ),
    st.tuples(
        st.just(GroupInfo(NS, S, G)),
        st.builds(
            GroupInfoResult,
            st.sampled_from(GroupMode),
            _KNOWN_SETTINGS,
            _IDS,
            _U64,
            _U64,
            st.lists(_CONSUMERS, max_size=20).map(tuple),
        ),
    ),
)

TRIED: set[type[Body]] = {
    StreamAppend,
    StreamRead,
    StreamInfo,
    StreamTrim,
    GroupJoin,
    GroupLeave,
    GroupRead,
    GroupAck,
    GroupNack,
    GroupClaim,
    GroupPending,
}
TRIED_V1: set[type[Body]] = {
    StreamCreate,
    StreamAlter,
    StreamDelete,
    StreamList,
    GroupCreate,
    GroupConfigure,
    GroupDelete,
    GroupInfo,
    GroupTouch,
}

# For a client that is sent nonsense: what has an answer of more than nothing.
CALLS: tuple[Body, ...] = (
    StreamAppend(NS, S, (StreamItem(b"e"),)),
    StreamRead(NS, S),
    StreamInfo(NS, S),
    StreamTrim(NS, S, max_len=1),
    GroupClaim(NS, S, G, C, 0),
    GroupPending(NS, S, G),
)
CALLS_V1: tuple[Body, ...] = (StreamList(NS), StreamDelete(NS, S), GroupInfo(NS, S, G))
