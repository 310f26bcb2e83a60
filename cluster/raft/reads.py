"""ReadIndex: linearizable reads without a log entry (Raft thesis section 6.4).

The read index is the commit index noted *before* a probe leaves. The probe's echo must name
the round and the term, so a reply that was held back while somebody else was elected confirms
nothing (DESIGN.md row 25; a re-used confirmation is etcd-io/etcd#20418). Probes promise
nothing about the log, so unlike append_entries replies they need not wait for a disk.
One round serves all reads that wait; a reply to a round confirms every earlier one.
"""

from collections import deque
from dataclasses import dataclass

from cluster.raft.types import NodeId

Token = int
"""The caller's name for a batch of reads."""


@dataclass(frozen=True, slots=True)
class ReadReady:
    """Reads `tokens` may be answered once the entry `index` is applied."""

    index: int
    tokens: list[Token]


class _Round:
    __slots__ = ("acks", "index", "number", "tokens")

    def __init__(self, number: int, index: int, tokens: list[Token], acks: set[NodeId]) -> None:
        self.number = number
        self.index = index
        self.tokens = tokens
        self.acks = acks


class ReadIndex:
    """Rounds of one group. All methods are cheap; the caller sends the probes."""

    def __init__(self, node_id: NodeId, majority: int) -> None:
        self._node_id = node_id
        self._majority = majority
        self._waiting: list[Token] = []
        self._rounds: deque[_Round] = deque()
        self._number = 0

    def add(self, token: Token) -> None:
        self._waiting.append(token)

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def unconfirmed(self) -> int:
        """The youngest round that waits for replies; 0 when none does."""
        return self._rounds[-1].number if self._rounds else 0

    def start_round(self, commit_index: int) -> int:
        """Moves the waiting reads into a new round and returns its number for the probes."""
        self._number += 1
        acks = {self._node_id}
        self._rounds.append(_Round(self._number, commit_index, self._waiting, acks))
        self._waiting = []
        return self._number

    def confirm(self, peer: NodeId, number: int) -> None:
        """`peer` answered round `number` in this leader's term."""
        for current in self._rounds:
            if current.number > number:
                break
            current.acks.add(peer)

    def take_ready(self) -> list[ReadReady]:
        """The rounds a majority has confirmed, oldest first."""
        ready: list[ReadReady] = []
        while self._rounds and len(self._rounds[0].acks) >= self._majority:
            first = self._rounds.popleft()
            ready.append(ReadReady(first.index, first.tokens))
        return ready

    def drop_all(self) -> list[Token]:
        """Leadership is lost: the reads that were not confirmed."""
        tokens = [token for current in self._rounds for token in current.tokens] + self._waiting
        self._rounds.clear()
        self._waiting = []
        return tokens
