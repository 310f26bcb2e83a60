"""What a command handler may see and change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.state.expiry import ExpiryIndex
from cluster.state.garbage import Garbage
from cluster.state.group_rows import Group, decode_group, drop_entry_timer
from cluster.state.history import Graves
from cluster.state.objects import Objects
from cluster.state.queue_rows import Queue, decode_queue, drop_pending_timer
from cluster.state.sessions import Sessions
from cluster.state.store import Table
from cluster.state.stream_rows import Stream, decode_stream, drop_part
from cluster.state.timers import Timers
from cluster.state.txn_outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Generator

    from cluster.state.store import WriteTransaction


LETTERS_BYTES_MAX = 4 << 20
"""Of dead letters that one log entry copies, about."""


class Context:
    """The state around one command: handlers take it, and their command, and nothing else.

    `txn` is the transaction of the entry being applied. `stamp_ms` is the applied stamp: the only
    time there is. `revision` counts the changes of keys and is the version of the latest one.
    `touched` says for whom something may have arrived since it was last taken: topics of waiting
    calls, with about how many of them can be served. It is no part of the state.
    """

    __slots__ = (
        "changed",
        "expiry",
        "garbage",
        "graves",
        "groups",
        "last_id",
        "letters_room",
        "listening",
        "one_revision",
        "outcomes",
        "queues",
        "revision",
        "sessions",
        "stamp_ms",
        "streams",
        "timers",
        "touched",
        "txn",
    )

    txn: WriteTransaction

    def __init__(self) -> None:
        self.expiry = ExpiryIndex()
        self.sessions = Sessions()
        self.timers = Timers()
        self.garbage = Garbage(
            {
                Table.QUEUE_STATE: drop_pending_timer,
                Table.STREAM_RECORDS: drop_part,
                Table.GROUP_PENDING: drop_entry_timer,
            }
        )
        self.graves = Graves()
        self.outcomes = Outcomes()
        self.queues: Objects[Queue] = Objects(decode_queue)
        self.streams: Objects[Stream] = Objects(decode_stream)
        self.groups: Objects[Group] = Objects(decode_group)
        self.stamp_ms = 0
        self.revision = 0
        self.one_revision = False
        """All changes are one: they share the present revision. Whoever says so keeps the earlier
        versions of what is `changed`, once for all of it."""
        self.changed: dict[bytes, None] = {}
        """Full keys that were written or removed, in their order, while changes are one."""
        self.last_id = 0
        self.letters_room = LETTERS_BYTES_MAX
        """Bytes of dead letters that the present log entry may still copy."""
        self.touched: dict[bytes, int] = {}
        self.listening = False
        """Whether anybody waits. Reads park only between entries, so what wakes nothing but reads
        need not be noted before."""

    def next_revision(self) -> int:
        """The version of a change that is made now."""
        if not self.one_revision:
            self.revision += 1
        return self.revision

    @contextmanager
    def as_one(self, txn: WriteTransaction) -> Generator[None]:
        """Changes are made in `txn`, under one new revision; `changed` begins anew."""
        outer, self.txn = self.txn, txn
        self.revision += 1
        self.one_revision = True
        self.changed = {}
        try:
            yield
        finally:
            self.txn = outer
            self.one_revision = False
            self.changed = {}

    def new_id(self) -> int:
        """An id that no other thing of this partition has or had."""
        self.last_id += 1
        return self.last_id

    def touch(self, topic: bytes, count: int) -> None:
        """About `count` more of those who wait for `topic` can be served."""
        self.touched[topic] = self.touched.get(topic, 0) + count
