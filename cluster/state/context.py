"""What a command handler may see and change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.state.expiry import ExpiryIndex
    from cluster.state.garbage import Garbage
    from cluster.state.sessions import Sessions
    from cluster.state.store import WriteTransaction
    from cluster.state.timers import Timers


class Context:
    """The state around one command: handlers take it, and their command, and nothing else.

    `txn` is the transaction of the entry being applied. `stamp_ms` is the applied stamp: the only
    time there is. `revision` counts the changes of keys and is the version of the latest one.
    `touched` says for whom something may have arrived since it was last taken: topics of waiting
    calls, with about how many of them can be served. It is no part of the state.
    """

    __slots__ = (
        "expiry",
        "garbage",
        "last_id",
        "listening",
        "revision",
        "sessions",
        "stamp_ms",
        "timers",
        "touched",
        "txn",
    )

    txn: WriteTransaction

    def __init__(
        self, expiry: ExpiryIndex, sessions: Sessions, timers: Timers, garbage: Garbage
    ) -> None:
        self.expiry = expiry
        self.sessions = sessions
        self.timers = timers
        self.garbage = garbage
        self.stamp_ms = 0
        self.revision = 0
        self.last_id = 0
        self.touched: dict[bytes, int] = {}
        self.listening = False
        """Whether anybody waits. Reads park only between entries, so what wakes nothing but reads
        need not be noted before."""

    def new_id(self) -> int:
        """An id that no other thing of this partition has or had."""
        self.last_id += 1
        return self.last_id

    def touch(self, topic: bytes, count: int) -> None:
        """About `count` more of those who wait for `topic` can be served."""
        self.touched[topic] = self.touched.get(topic, 0) + count
