"""Snapshots between the replicas of one partition.

A leader whose log no longer holds what a follower needs sends it the newest snapshot, in pieces and
with a window. It begins with an offer, a piece without bytes; the follower answers each piece with
where it wants to go on, so a transfer goes on after a broken connection, or begins anew when the
leader or its snapshot is another one.

What a snapshot holds is committed, whoever sends it, so neither side has to prove anything about
terms. They only keep leftovers of old leaders from disturbing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from cluster.raft import messages
from cluster.raft.types import NodeId, Outgoing
from cluster.storage.snapshots import SnapshotInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.clock import Clock
    from cluster.raft.group import RaftGroup
    from cluster.storage.group_log import GroupLog
    from cluster.storage.snapshots import Incoming, Snapshots, Source

logger = logging.getLogger("flo.snapshot")

_OFFER_AGAIN_S = 1.0
"""Without an answer for so long the offer is repeated."""


class TransferConfig(NamedTuple):
    """Sizes in bytes."""

    piece_bytes: int = 256 << 10
    window_bytes: int = 1 << 20
    """Sent and not yet answered, to one follower."""


class _Sending:
    """One follower's transfer."""

    __slots__ = ("answered", "came_whole", "heard_at", "next", "source")

    def __init__(self, source: Source, now: float) -> None:
        self.source = source
        self.next = 0
        self.answered: int | None = None
        """What the follower has; None until it answers the offer."""
        self.came_whole = False
        self.heard_at = now


class SnapshotSender:
    """The leader's side. `has_room` tells whether the link to a peer takes more now."""

    def __init__(
        self,
        group: RaftGroup,
        log: GroupLog,
        snapshots: Snapshots,
        *,
        clock: Clock,
        has_room: Callable[[NodeId], bool],
        config: TransferConfig,
    ) -> None:
        self.wants_snapshot = False
        """The newest one is of no use; nothing is sent until there is a new one."""
        self._group = group
        self._log = log
        self._snapshots = snapshots
        self._clock = clock
        self._has_room = has_room
        self._config = config
        self._sending: dict[NodeId, _Sending] = {}

    @property
    def needed_from(self) -> int | None:
        """The log must keep what follows this entry: a follower is about to need it."""
        return min((each.source.info.last_index for each in self._sending.values()), default=None)

    def advance(self) -> list[Outgoing]:
        """What may be sent now. Raises OSError when the snapshot cannot be read."""
        needing = self._group.needing_snapshot
        if not needing and not self._sending:
            return []
        for peer in self._sending.keys() - set(needing):
            self._sending.pop(peer).source.close()
        outgoing: list[Outgoing] = []
        for peer in needing:
            outgoing += self._advance(peer)
        return outgoing

    def on_reply(self, peer: NodeId, fields: list[object]) -> None:
        """A follower says where it wants to go on."""
        reply = messages.decode_snapshot_reply(fields)
        sending = self._sending.get(peer)
        if sending is None or reply.last_index != sending.source.info.last_index:
            return
        size = sending.source.info.size
        if reply.offset > size:
            raise messages.MalformedMessageError(
                f"node {peer} wants byte {reply.offset} of a snapshot of {size}"
            )
        if sending.came_whole and reply.offset < size:
            # It could not use what it got: what is stored here may be damaged.
            logger.warning("node %d could not use the snapshot %s", peer, sending.source.info)
            self.wants_snapshot = True
            self.close()
            return
        sending.came_whole = reply.offset == size
        # A follower that was restarted has lost what it had.
        anew = sending.answered is None or reply.offset < sending.answered
        if anew or reply.offset > sending.next:
            sending.next = reply.offset
        sending.answered = reply.offset
        sending.heard_at = self._clock.monotonic()

    def close(self) -> None:
        """Nothing more is sent."""
        for sending in self._sending.values():
            sending.source.close()
        self._sending.clear()

    def _advance(self, peer: NodeId) -> list[Outgoing]:
        now = self._clock.monotonic()
        sending = self._sending.get(peer)
        if sending is not None and sending.source.info.last_index < self._log.base_index:
            logger.warning("node %d is too slow: the log has let go what it needs next", peer)
            self._sending.pop(peer).source.close()
            sending = None
        if sending is None:
            return self._offer_newest(peer, now)
        if now - sending.heard_at > _OFFER_AGAIN_S:
            sending.answered, sending.heard_at = None, now
            return [self._piece(peer, sending, 0)]
        outgoing: list[Outgoing] = []
        size = sending.source.info.size
        while (
            sending.answered is not None
            and sending.next < size
            and sending.next - sending.answered < self._config.window_bytes
            and self._has_room(peer)
        ):
            outgoing.append(self._piece(peer, sending, self._config.piece_bytes))
        return outgoing

    def _offer_newest(self, peer: NodeId, now: float) -> list[Outgoing]:
        latest = self._snapshots.latest
        if self.wants_snapshot or latest is None or latest.last_index < self._log.base_index:
            return []
        sending = self._sending[peer] = _Sending(self._snapshots.open(), now)
        logger.info("node %d gets the snapshot of entry %d", peer, latest.last_index)
        return [self._piece(peer, sending, 0)]

    def _piece(self, peer: NodeId, sending: _Sending, count: int) -> Outgoing:
        info = sending.source.info
        offset = sending.next if count else 0
        data = sending.source.read(offset, count) if count else b""
        sending.next = offset + len(data)
        message = (
            messages.SNAPSHOT,
            self._group.config.group_id,
            self._group.term,
            info.last_index,
            info.last_term,
            info.size,
            offset,
            info.digest,
            data,
        )
        return Outgoing(peer, message)


class SnapshotReceiver:
    """The follower's side. `on_complete` is called once for each snapshot that came whole."""

    def __init__(
        self, group: RaftGroup, snapshots: Snapshots, on_complete: Callable[[Incoming], None]
    ) -> None:
        self._group = group
        self._snapshots = snapshots
        self._on_complete = on_complete
        self._incoming: Incoming | None = None
        self._complete = False

    def on_piece(self, sender: NodeId, fields: list[object]) -> list[Outgoing]:
        """Takes a piece, and says what comes next. Raises OSError when it cannot be written."""
        piece = messages.decode_snapshot(fields)
        group = self._group
        if piece.term != group.term or sender != group.leader:
            return []
        if piece.last_index <= group.commit_index:
            return []  # A leftover: the log has gone on beyond it.
        incoming = self._incoming_for(piece)
        if incoming is None:
            return []
        if piece.offset == incoming.received and not self._complete:
            incoming.write(piece.data)
            if incoming.received == piece.size:
                self._complete = True
                self._on_complete(incoming)
        reply = (
            messages.SNAPSHOT_REPLY,
            group.config.group_id,
            group.term,
            piece.last_index,
            incoming.received,
        )
        return [Outgoing(sender, reply)]

    def give_up(self) -> None:
        """What came could not be used, or is not needed: the next offer begins anew."""
        if self._incoming is not None:
            self._incoming.discard()
        self._incoming, self._complete = None, False

    def close(self) -> None:
        """Nothing more is received; what is complete is somebody else's by now."""
        if not self._complete:
            self.give_up()

    def _incoming_for(self, piece: messages.SnapshotChunk) -> Incoming | None:
        info = SnapshotInfo(piece.last_index, piece.last_term, piece.size, piece.digest)
        if self._incoming is not None and self._incoming.info == info:
            return self._incoming
        if self._complete or piece.data:
            # One that is complete is being put in place; whatever is newer comes after it. And only
            # an offer begins one: else a full disk would be answered at the speed of the network.
            return None
        self.give_up()
        self._incoming = self._snapshots.receive(info)
        return self._incoming


class SnapshotTransfer:
    """Both sides of one partition. Trouble with the disk ends a transfer, not the replica."""

    def __init__(
        self,
        group: RaftGroup,
        log: GroupLog,
        snapshots: Snapshots,
        *,
        clock: Clock,
        has_room: Callable[[NodeId], bool],
        on_complete: Callable[[Incoming], None],
        config: TransferConfig | None = None,
    ) -> None:
        self._partition_id = group.config.group_id
        self._sender = SnapshotSender(
            group,
            log,
            snapshots,
            clock=clock,
            has_room=has_room,
            config=config or TransferConfig(),
        )
        self._receiver = SnapshotReceiver(group, snapshots, on_complete)
        self._outgoing: list[Outgoing] = []

    @property
    def needed_from(self) -> int | None:
        """See `SnapshotSender.needed_from`."""
        return self._sender.needed_from

    @property
    def wants_snapshot(self) -> bool:
        """See `SnapshotSender.wants_snapshot`."""
        return self._sender.wants_snapshot

    def snapshot_taken(self) -> None:
        """There is a new snapshot."""
        self._sender.wants_snapshot = False

    def step(self, sender: NodeId, message: list[object]) -> None:
        """Takes a message of kind SNAPSHOT or SNAPSHOT_REPLY. Raises MalformedMessageError."""
        try:
            if message[0] == messages.SNAPSHOT:
                self._outgoing += self._receiver.on_piece(sender, message[2:])
            else:
                self._sender.on_reply(sender, message[2:])
        except OSError as error:
            self.failed(error)

    def advance(self) -> None:
        """Decides what to send; part of every turn."""
        try:
            self._outgoing += self._sender.advance()
        except OSError as error:
            self._sender.close()
            self._sender.wants_snapshot = True
            logger.error("partition %d: no snapshot can be sent: %s", self._partition_id, error)

    def take(self) -> list[Outgoing]:
        """Messages that promise nothing about this node's disk."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def received_in_vain(self) -> None:
        """A received snapshot was not needed any more."""
        self._receiver.give_up()

    def failed(self, error: Exception) -> None:
        """A received snapshot could not be written or used."""
        logger.error("partition %d: a snapshot is given up: %s", self._partition_id, error)
        self._receiver.give_up()

    def close(self) -> None:
        """Ends both sides."""
        self._sender.close()
        self._receiver.close()
        self._outgoing.clear()
