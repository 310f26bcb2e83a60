"""What a command handler may see and change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.state.expiry import ExpiryIndex
    from cluster.state.sessions import Sessions
    from cluster.state.store import WriteTransaction


class Context:
    """The state around one command: handlers take it, and their command, and nothing else.

    `txn` is the transaction of the entry being applied. `stamp_ms` is the applied stamp: the only
    time there is. `revision` counts the changes of keys and is the version of the latest one.
    """

    __slots__ = ("expiry", "revision", "sessions", "stamp_ms", "txn")

    txn: WriteTransaction

    def __init__(self, expiry: ExpiryIndex, sessions: Sessions) -> None:
        self.expiry = expiry
        self.sessions = sessions
        self.stamp_ms = 0
        self.revision = 0
