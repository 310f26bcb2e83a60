"""Where a scan goes on: the last key itself, or a name for it when the wire has no room.

v1 has room for every key, so that any node can go on. v2 allows 64 bytes: longer keys are kept
here, bounded and for a while, and the cursor names the node that keeps them.
"""

from collections import OrderedDict
from random import Random
from struct import Struct

from cluster.clock import Clock
from cluster.raft.types import NodeId
from flo.wire.limits import V1_CURSOR_BYTES_MAX, V2_CURSOR_BYTES_MAX

_KEY = b"k"
_NAME = b"n"
_NAMED = Struct("<HQ")

KEY_BYTES_MAX = {1: V1_CURSOR_BYTES_MAX - len(_KEY), 2: V2_CURSOR_BYTES_MAX - len(_KEY)}
"""The longest key that a cursor of a revision holds."""
KEPT_MAX = 10_000
KEPT_S = 300.0
_FIRST_BITS = 63


class CursorError(ValueError):
    """A cursor that this node cannot continue; the message says why and what to do."""


class ScanCursors:
    """The cursors of one node."""

    def __init__(self, node_id: NodeId, clock: Clock, rng: Random) -> None:
        self._node_id = node_id
        self._clock = clock
        self._kept: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        # Counting anew after a restart would take an old cursor for a new one of another scan.
        self._next = rng.getrandbits(_FIRST_BITS)

    def make(self, last_key: bytes, revision: int) -> bytes:
        """A cursor that continues after `last_key`, for an answer of this wire revision."""
        if len(last_key) <= KEY_BYTES_MAX[revision]:
            return _KEY + last_key
        now = self._clock.monotonic()
        while self._kept and (len(self._kept) >= KEPT_MAX or self._oldest() < now - KEPT_S):
            self._kept.popitem(last=False)
        self._next += 1
        self._kept[self._next] = (now, last_key)
        return _NAME + _NAMED.pack(self._node_id, self._next)

    def resolve(self, cursor: bytes) -> bytes:
        """The key to continue after, b"" for the start. Raises CursorError."""
        if not cursor:
            return b""
        if cursor[:1] == _KEY:
            return cursor[1:]
        if cursor[:1] != _NAME or len(cursor) != 1 + _NAMED.size:
            raise CursorError("the scan cursor is malformed: pass it on as it was given")
        node_id, number = _NAMED.unpack_from(cursor, 1)
        if node_id != self._node_id:
            raise CursorError(
                f"the scan cursor is kept at node {node_id}, this is node {self._node_id}:"
                " ask that node, or start the scan again"
            )
        kept = self._kept.get(number)
        if kept is None:
            raise CursorError("the scan cursor has expired: start the scan again")
        return kept[1]

    def _oldest(self) -> float:
        return next(iter(self._kept.values()))[0]
