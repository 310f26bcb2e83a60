"""Random commands that meet each other: few keys, few sessions, short times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from cluster.state.history import DEAD_MS
from cluster.state.keyspace import PIECE_BYTES
from cluster.state.sessions import SESSION_IDLE_MS
from tests.unit.state.helpers import (
    NAMESPACE,
    Triple,
    delete,
    expire,
    incr,
    json_delete,
    json_set,
    open_session,
    put,
    within,
)

if TYPE_CHECKING:
    from cluster.state.commands import Command

# Short keys, and keys that share their first piece. Made from lengths to keep failures readable.
_HEAD_BYTES = len(NAMESPACE) + 1
_LENGTHS = [
    1,
    2,
    *(PIECE_BYTES * pieces - _HEAD_BYTES + more for pieces in (1, 2) for more in (0, 1)),
]

keys = st.sampled_from(_LENGTHS).map(lambda length: b"k" * length)
values = st.sampled_from(
    [
        b"",
        b"value",
        b'{"a":{"b":1},"c":[ ]}',
        bytes(8),
        b"\xff" * 8,
        (2**63 - 1).to_bytes(8, "little"),
        b"\x80".rjust(8, b"\0"),
    ]
)
ttls_ms = st.sampled_from([0, 0, 1, 5, 20, 2**63])
versions = st.none() | st.integers(0, 12)
steps_ms = st.sampled_from(
    [0, 0, 1, 5, 20, SESSION_IDLE_MS - 1, SESSION_IDLE_MS, DEAD_MS - 20, DEAD_MS]
)
"""How far the stamp of the next entry is from the start of the one before it."""

paths = st.sampled_from([b"$", b"$", b".a", b".a.b", b".c[0]", b".x.y", b"?"])
documents = st.sampled_from([b'{"a":{},"c":[1]}', b"[]", b"7", b"no document"])

plain_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(put, keys, values, ttl_ms=ttls_ms, flags=st.integers(0, 3), cas=versions),
    st.builds(put, keys, values, ttl_ms=ttls_ms),
    st.builds(delete, keys, cas=versions),
    st.builds(incr, keys, st.sampled_from([1, -1, 7, 2**63 - 1, -(2**63)])),
    st.builds(expire, keys, ttls_ms, cas=versions),
    st.builds(json_set, keys, paths, documents, bytes_max=st.sampled_from([12, 1000])),
    st.builds(json_delete, keys, paths),
)
triples = st.builds(Triple, st.integers(1, 3), st.integers(1, 9), st.integers(0, 9))
batches: st.SearchStrategy[list[Command]] = st.lists(
    st.one_of(
        plain_commands,
        st.builds(within, triples, plain_commands),
        st.builds(within, triples, plain_commands),
        st.builds(open_session, st.integers(1, 3)),
    ),
    max_size=6,
)
