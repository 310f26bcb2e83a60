"""A leader's view of its followers, and what it sends them.

The consensus core would send without bound, set its next index back on every acknowledgement
and answer a reset once per outstanding message (DESIGN.md rows 4 and 29). Here each
follower has a window of unacknowledged bytes, an acknowledgement only moves forward, and a
reset counts only when it answers something sent after the last accepted reset.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cluster.raft.messages import Append, AppendReply, MalformedMessageError, encode_append
from cluster.raft.types import InvariantBrokenError, NodeId, Outgoing

if TYPE_CHECKING:
    from cluster.storage.group_log import GroupLog


_ENTRIES_MAX = 16_384
"""Of one message, two items each: a peer refuses long arrays, however few bytes they hold."""

_TURN_BYTES = 512 << 10
"""To one follower in one turn, and the message that passes it: reading a whole window back from the
disk would hold everybody up. Its acknowledgement asks for the next turn."""


class _Follower:
    __slots__ = (
        "acked",
        "answered",
        "applied",
        "in_flight",
        "in_flight_bytes",
        "learns",
        "needs_snapshot",
        "next",
        "resets_after",
    )

    def __init__(self) -> None:
        self.learns = False
        """It lost its disk: what it has does not count yet."""
        self.begin(1)

    def begin(self, next_index: int) -> None:
        self.next = next_index
        self.answered = False
        """It has replied in this leadership."""
        self.acked = 0
        """Highest index this follower has durably; in this leadership."""
        self.applied = 0
        """How far its state is, by its last reply; in this leadership."""
        self.resets_after = 0
        """Resets that answer a sequence up to this one are about an older position."""
        self.needs_snapshot = False
        """What comes next for it is no longer in the log; it still gets heartbeats."""
        self.forget_in_flight()

    def forget_in_flight(self) -> None:
        self.in_flight: deque[tuple[int, int]] = deque()
        self.in_flight_bytes = 0


class _Batch(NamedTuple):
    last: int
    size: int
    message: tuple[object, ...]


class Replication:
    """Progress of the followers of one group while this replica leads it."""

    def __init__(
        self,
        *,
        group_id: int,
        peers: tuple[NodeId, ...],
        log: "GroupLog",
        window_bytes: int,
        message_bytes: int,
        has_room: Callable[[NodeId], bool],
    ) -> None:
        self._group_id = group_id
        self._log = log
        self._window_bytes = window_bytes
        self._message_bytes = message_bytes
        self._has_room = has_room
        self._followers = {peer: _Follower() for peer in peers}
        self.connected: tuple[NodeId, ...] = ()
        """Peers with a live connection, in the order of the replica list."""
        self._sequence = 0
        """Grows over all leaderships of this process, so an echo names one send."""

    def begin_term(self) -> None:
        for follower in self._followers.values():
            follower.begin(self._log.last_index + 1)
            follower.resets_after = self._sequence

    def peer_connected(self, peer: NodeId) -> None:
        follower = self._followers[peer]
        self._set_connected({*self.connected, peer})
        # What was in flight on the old connection is lost; what was acknowledged is not.
        follower.forget_in_flight()
        follower.resets_after = self._sequence
        if follower.acked:
            follower.next = follower.acked + 1

    def peer_disconnected(self, peer: NodeId) -> None:
        self._set_connected({*self.connected} - {peer})

    def learns(self, peer: NodeId) -> bool:
        """Whether the last reply of `peer` was a learner's."""
        return self._followers[peer].learns

    def acked(self, peer: NodeId) -> int:
        return self._followers[peer].acked

    def level(self, peer: NodeId) -> int:
        """The last entry that `peer` has both synced and applied, as far as it told."""
        follower = self._followers[peer]
        return min(follower.acked, follower.applied)

    @property
    def all_have_answered(self) -> bool:
        """Every follower has replied in this leadership, so nobody is in a later term from before.

        Asked for the sake of a learner, whose own replies count here as well.
        """
        return all(follower.answered for follower in self._followers.values())

    @property
    def needing_snapshot(self) -> list[NodeId]:
        """Connected followers that the log cannot bring up to date any more."""
        return [peer for peer in self.connected if self._followers[peer].needs_snapshot]

    def on_reply(self, peer: NodeId, reply: AppendReply) -> None:
        """Takes a reply of the current term.

        Raises MalformedMessageError for what only a follower that lost its log can say; such
        a follower must not be counted again, and must not stop its leader either.
        """
        follower = self._followers[peer]
        follower.learns, follower.answered = False, True
        follower.applied = reply.applied_index
        index = reply.next_index - 1
        if reply.success:
            if index > self._log.last_index:
                raise MalformedMessageError(
                    f"node {peer} acknowledges entry {index} of a log that ends at"
                    f" {self._log.last_index}"
                )
            self._acknowledge(follower, index)
        elif self._is_reset(follower, reply):
            if index < follower.acked:
                raise MalformedMessageError(
                    f"node {peer} had synced entry {follower.acked} and now asks for"
                    f" {reply.next_index}: its disk lost acknowledged entries"
                )
            self._go_back(follower, reply.next_index)

    def on_progress(self, peer: NodeId, reply: AppendReply) -> None:
        """Takes the reply of a learner: it moves on, and nothing it has counts."""
        follower = self._followers[peer]
        follower.learns = follower.answered = True
        follower.acked = 0
        if reply.success:
            self._received(follower, reply.next_index - 1)
        elif self._is_reset(follower, reply):
            self._go_back(follower, reply.next_index)

    def send(self, commit: int, term: int, *, heartbeat: bool) -> list[Outgoing]:
        """Everything that may go out now: new entries within the windows, and heartbeats.

        Followers that stand at the same place get the same message object.
        """
        outgoing: list[Outgoing] = []
        shared: dict[int, _Batch] = {}
        self._sequence += 1
        last_index = self._log.last_index
        for peer in self.connected:
            follower = self._followers[peer]
            due = heartbeat
            sent = 0
            if follower.next <= self._log.base_index:
                follower.needs_snapshot = True
                follower.next = self._log.base_index + 1
                follower.forget_in_flight()
            # All groups share the link: without room, a later acknowledgement or tick goes on.
            while (
                follower.next <= last_index
                and not follower.needs_snapshot
                and follower.in_flight_bytes < self._window_bytes
                and sent < _TURN_BYTES
                and self._has_room(peer)
            ):
                batch = shared.get(follower.next)
                if batch is None:
                    batch = shared[follower.next] = self._batch(follower.next, commit, term)
                outgoing.append(Outgoing(peer, batch.message))
                follower.in_flight.append((batch.last, batch.size))
                follower.in_flight_bytes += batch.size
                sent += batch.size
                follower.next = batch.last + 1
                due = False
            if due:
                message = self._encode(follower.next, [], commit, term)
                outgoing.append(Outgoing(peer, message))
        return outgoing

    def _set_connected(self, peers: set[NodeId]) -> None:
        self.connected = tuple(peer for peer in self._followers if peer in peers)

    def _batch(self, first: int, commit: int, term: int) -> _Batch:
        stop = min(self._log.last_index + 1, first + _ENTRIES_MAX)
        found = self._log.entries(first, stop, self._message_bytes)
        entries = [(entry.data, entry.index, entry.term) for entry in found]
        size = sum(len(entry.data) for entry in found)
        return _Batch(found[-1].index, size, self._encode(first, entries, commit, term))

    def _encode(
        self, first: int, entries: list[tuple[bytes, int, int]], commit: int, term: int
    ) -> tuple[object, ...]:
        previous_term = self._log.term_at(first - 1)
        if previous_term is None:
            raise InvariantBrokenError(f"entry {first - 1}, which a follower needs, is not here")
        append = Append(term, self._sequence, commit, first - 1, previous_term, entries)
        return encode_append(self._group_id, append)

    def _acknowledge(self, follower: _Follower, index: int) -> None:
        if index > follower.acked:
            follower.acked = index
        self._received(follower, index)

    def _received(self, follower: _Follower, index: int) -> None:
        if index >= self._log.base_index:
            follower.needs_snapshot = False
        if index >= follower.next:
            follower.next = min(index, self._log.last_index) + 1
        in_flight = follower.in_flight
        while in_flight and in_flight[0][0] <= index:
            follower.in_flight_bytes -= in_flight.popleft()[1]

    def _is_reset(self, follower: _Follower, reply: AppendReply) -> bool:
        return reply.reset and reply.sequence > follower.resets_after

    def _go_back(self, follower: _Follower, next_index: int) -> None:
        # The log's first entry is the same everywhere, so probing never goes below it.
        least = max(self._log.base_index, 1) + 1
        follower.next = min(max(next_index, least), self._log.last_index + 1)
        follower.needs_snapshot = next_index <= self._log.base_index
        follower.resets_after = self._sequence
        follower.forget_in_flight()
