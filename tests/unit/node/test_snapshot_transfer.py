"""A snapshot on its way from a leader to a follower, piece by piece."""

import errno
import os
from collections.abc import Callable, Generator
from hashlib import blake2b
from pathlib import Path
from random import Random

import pytest

from cluster.peers.packing import array_header, pack_message, unpack_messages
from cluster.raft import messages
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId, Outgoing
from cluster.snapshot_transfer import SnapshotTransfer, TransferConfig
from cluster.state.memory_store import MemoryStore
from cluster.storage.memory_snapshots import MemoryIncoming, MemorySnapshots
from cluster.storage.snapshots import (
    Copy,
    DiskSnapshots,
    FileIncoming,
    Incoming,
    SnapshotInfo,
    Snapshots,
    Source,
)
from tests.unit.raft.kit import Cluster, Message, numbered

CONFIG = TransferConfig(piece_bytes=100, window_bytes=300)
BASE = 8
CONTENT = Random(1).randbytes(2_050)

Make = Callable[[NodeId], Snapshots]


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Snapshots in memory and on a disk: a folder per node."""

    def on_disk(node: NodeId) -> Snapshots:
        return DiskSnapshots(tmp_path / str(node), _no_copy)

    def in_memory(node: NodeId) -> Snapshots:
        return MemorySnapshots(MemoryStore)

    return on_disk if request.param == "disk" else in_memory


def _no_copy(descriptor: int) -> None:
    raise AssertionError("no snapshot is taken here")


def stored(snapshots: Snapshots, content: bytes, *, index: int = BASE) -> SnapshotInfo:
    """Puts a snapshot with this content in place, as the newest."""
    info = SnapshotInfo(index, 1, len(content), blake2b(content, digest_size=16).digest())
    if isinstance(snapshots, DiskSnapshots):
        path = snapshots.path_of(info).with_suffix(".made")
        path.write_bytes(content)
        snapshots.adopt(path, info)
    else:
        assert isinstance(snapshots, MemorySnapshots)
        snapshots.adopt(info, content)
    return info


def content_of(incoming: Incoming) -> bytes:
    if isinstance(incoming, FileIncoming):
        return incoming.path.read_bytes()
    assert isinstance(incoming, MemoryIncoming)
    return incoming.content


class Ends:
    """Leader 1 sends to follower 3. Messages wait in `to_follower` and `to_leader`."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.cluster = cluster = Cluster()
        cluster.elect(1)
        cluster.run()
        cluster.isolate(3)
        cluster[1].propose(*numbered(10))
        cluster.run((1, 2))
        for node in (1, 2):
            cluster[node].log.compact(BASE)
            cluster[node].sync()
        cluster.connect(1, 3)
        cluster.run((1, 3), ticking=())
        assert cluster[1].group.needing_snapshot == [3]
        self.has_room = True
        self.completed: list[Incoming] = []
        self.transfers: list[SnapshotTransfer] = []
        self.to_follower: list[Message] = []
        self.to_leader: list[Message] = []
        self.snapshots = make(1)
        self.sender = self.transfer(1, self.snapshots)
        self.received = make(3)
        self.receiver = self.transfer(3, self.received)

    def transfer(self, node: NodeId, snapshots: Snapshots) -> SnapshotTransfer:
        member = self.cluster[node]
        transfer = SnapshotTransfer(
            member.group,
            member.log,
            snapshots,
            clock=self.cluster.clock,
            has_room=lambda _: self.has_room,
            on_complete=self.completed.append,
            config=CONFIG,
        )
        self.transfers.append(transfer)
        return transfer

    def lead(self) -> list[Message]:
        """A turn of the leader; what it sends."""
        self.sender.advance()
        sent = over_the_wire(self.sender.take())
        self.to_follower += sent
        return sent

    def follow(self, count: int | None = None) -> None:
        """The follower takes messages and answers."""
        while self.to_follower and count != 0:
            self.receiver.step(1, self.to_follower.pop(0))
            self.to_leader += over_the_wire(self.receiver.take())
            count = None if count is None else count - 1

    def answer(self) -> None:
        while self.to_leader:
            self.sender.step(3, self.to_leader.pop(0))

    def round(self) -> list[Message]:
        sent = self.lead()
        self.follow()
        self.answer()
        return sent

    def run(self, rounds: int = 100) -> list[Message]:
        """All that the leader sends in so many rounds, in which no time passes."""
        return [message for _ in range(rounds) for message in self.round()]

    def break_link(self) -> None:
        """What is on its way is lost; both notice and connect again."""
        self.to_follower.clear()
        self.to_leader.clear()
        self.cluster.disconnect(1, 3)
        self.lead()
        self.cluster.connect(1, 3)
        self.cluster.run((1, 3), ticking=())

    def close(self) -> None:
        for transfer in self.transfers:
            transfer.close()
        for incoming in self.completed:
            incoming.discard()

    def restart_follower(self) -> None:
        self.receiver.close()
        self.break_link()
        self.received = self.make(3)
        self.receiver = self.transfer(3, self.received)


def over_the_wire(outgoing: list[Outgoing]) -> list[Message]:
    packed = [array_header(1) + pack_message(list(each.message)) for each in outgoing]
    return [message for each in packed for message in unpack_messages(each)]


def offset_of(message: Message) -> int:
    assert message[0] == messages.SNAPSHOT
    offset = message[6]
    assert isinstance(offset, int)
    return offset


def data_of(message: Message) -> bytes:
    assert isinstance(message[8], bytes)
    return message[8]


@pytest.fixture
def begin() -> Generator[Callable[[Make], Ends]]:
    """Makes leader and follower, and closes what they have open."""
    begun: list[Ends] = []

    def make_ends(make: Make) -> Ends:
        begun.append(Ends(make))
        return begun[-1]

    yield make_ends
    for ends in begun:
        ends.close()


@pytest.fixture
def ends(make: Make, begin: Callable[[Make], Ends]) -> Ends:
    """With a snapshot at the leader."""
    ends = begin(make)
    stored(ends.snapshots, CONTENT)
    return ends


# The whole way


def test_snapshot_comes_whole_in_pieces_each_with_offset_total_and_digest(ends: Ends) -> None:
    info = ends.snapshots.latest
    assert info is not None
    sent = ends.run()
    (incoming,) = ends.completed
    assert content_of(incoming) == CONTENT
    assert incoming.info == info
    assert data_of(sent[0]) == b"", "an offer comes first"
    pieces = sent[1:]
    assert [offset_of(piece) for piece in pieces] == list(range(0, len(CONTENT), 100))
    for message in sent:
        term = ends.cluster[1].group.term
        assert message[1:6] == [0, term, info.last_index, info.last_term, info.size]
        assert message[7] == info.digest


def test_nothing_is_sent_before_the_offer_is_answered(ends: Ends) -> None:
    assert len(ends.lead()) == 1
    assert ends.lead() == []
    ends.follow()
    assert ends.lead() == []
    ends.answer()
    assert len(ends.lead()) == 3


def test_no_more_than_the_window_is_on_its_way(ends: Ends) -> None:
    ends.round()
    assert len(ends.lead()) == 3
    assert ends.lead() == []
    ends.follow(1)
    ends.answer()
    assert len(ends.lead()) == 1


def test_link_without_room_gets_nothing_until_it_has_some(ends: Ends) -> None:
    ends.round()
    ends.has_room = False
    assert ends.run(5) == []
    ends.has_room = True
    ends.run()
    assert content_of(ends.completed[0]) == CONTENT


def test_unanswered_offer_is_repeated_but_not_often(ends: Ends) -> None:
    sent = 0
    for _ in range(500):
        ends.cluster.clock.now += 0.02
        sent += len(ends.lead())
    assert 8 <= sent <= 11


# Trouble on the way


def test_transfer_goes_on_where_it_was_after_a_broken_link(ends: Ends) -> None:
    ends.round()
    ends.round()
    ends.lead()
    ends.follow(2)
    came = 500
    ends.break_link()
    sent = ends.run()
    assert data_of(sent[0]) == b""
    assert offset_of(sent[1]) == came
    assert content_of(ends.completed[0]) == CONTENT


def test_transfer_begins_anew_after_a_restart_of_the_follower(ends: Ends) -> None:
    ends.run(4)
    ends.restart_follower()
    sent = ends.run()
    assert offset_of(sent[1]) == 0
    assert content_of(ends.completed[0]) == CONTENT


def test_piece_that_was_lost_is_sent_again_and_those_after_it_are_not_taken(ends: Ends) -> None:
    ends.round()
    ends.lead()
    del ends.to_follower[1]
    ends.follow()
    ends.answer()
    assert ends.completed == []
    for _ in range(200):
        ends.cluster.clock.now += 0.1
        ends.round()
    assert content_of(ends.completed[0]) == CONTENT


def test_repeated_and_early_pieces_change_nothing(ends: Ends) -> None:
    ends.round()
    rng = Random(2)
    for _ in range(3_000):
        ends.cluster.clock.now += 0.05
        ends.lead()
        if ends.to_follower and rng.random() < 0.3:
            ends.to_follower.append(rng.choice(ends.to_follower))
        rng.shuffle(ends.to_follower)
        ends.follow(rng.randrange(4))
        rng.shuffle(ends.to_leader)
        ends.answer()
        if ends.completed:
            break
    assert content_of(ends.completed[0]) == CONTENT
    ends.run(5)
    assert len(ends.completed) == 1


def test_newer_snapshot_of_the_same_leader_takes_over_after_a_broken_link(ends: Ends) -> None:
    ends.run(4)
    newer = bytes(reversed(CONTENT))
    stored(ends.snapshots, newer, index=BASE + 1)
    ends.round()
    assert ends.completed == [], "the one that was begun is sent on, and stays readable"
    ends.break_link()
    ends.run()
    assert content_of(ends.completed[0]) == newer
    assert ends.completed[0].info.last_index == BASE + 1


def test_begun_snapshot_is_sent_to_its_end_when_a_newer_one_replaces_it(ends: Ends) -> None:
    ends.run(4)
    stored(ends.snapshots, b"newer", index=BASE + 1)
    ends.run()
    assert content_of(ends.completed[0]) == CONTENT


def test_snapshot_of_a_new_leader_replaces_what_came_from_the_old_one(ends: Ends) -> None:
    ends.run(4)
    term = ends.cluster[3].group.term
    ends.cluster.isolate(1)
    ends.cluster.connect(2, 3)
    while not ends.cluster[2].group.needing_snapshot:
        ends.cluster.run((2, 3), rounds=1, ticking=[2])
    new = b"the state at the new leader"
    snapshots = ends.make(2)
    info = stored(snapshots, new, index=BASE + 2)
    other = ends.transfer(2, snapshots)
    for _ in range(20):
        other.advance()
        for message in over_the_wire(other.take()):
            ends.receiver.step(2, message)
        for reply in over_the_wire(ends.receiver.take()):
            other.step(3, reply)
        # What the old leader had sent comes late.
        late: Message = [
            messages.SNAPSHOT,
            0,
            term,
            BASE,
            1,
            len(CONTENT),
            500,
            info.digest,
            b"late",
        ]
        ends.receiver.step(1, late)
        assert ends.receiver.take() == []
    (incoming,) = ends.completed
    assert content_of(incoming) == new


def test_pieces_that_are_not_for_now_are_not_answered(ends: Ends) -> None:
    term = ends.cluster[3].group.term
    digest = bytes(16)
    leftovers: list[tuple[NodeId, Message]] = [
        (1, [messages.SNAPSHOT, 0, term - 1, BASE, 0, 9, 0, digest, b""]),
        (1, [messages.SNAPSHOT, 0, term + 1, BASE, 0, 9, 0, digest, b""]),
        (2, [messages.SNAPSHOT, 0, term, BASE, 0, 9, 0, digest, b""]),
        (1, [messages.SNAPSHOT, 0, term, BASE, 0, 9, 0, digest, b"no offer"]),
        (1, [messages.SNAPSHOT, 0, term, 1, 0, 9, 0, digest, b""]),
    ]
    for sender, message in leftovers:
        ends.receiver.step(sender, message)
        assert ends.receiver.take() == [], message
    assert ends.cluster[3].group.commit_index >= 1


def test_replies_that_are_not_about_this_transfer_are_ignored(ends: Ends) -> None:
    ends.round()
    before = len(ends.lead())
    for sender, index in ((2, BASE), (3, BASE + 1)):
        ends.sender.step(sender, [messages.SNAPSHOT_REPLY, 0, 1, index, 0])
    assert before == 3
    assert ends.lead() == []
    with pytest.raises(MalformedMessageError, match="wants byte 2051 of a snapshot of 2050"):
        ends.sender.step(3, [messages.SNAPSHOT_REPLY, 0, 1, BASE, len(CONTENT) + 1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (3, 0),  # of no entry
        (4, 9),  # of a term after the sender's
        (5, (1 << 40) + 1),  # larger than any state can be
        (5, 3),  # smaller than the piece
        (6, 8),  # beyond the end
        (7, b"short"),
        (8, "text"),
    ],
)
def test_piece_that_makes_no_sense_is_refused(ends: Ends, field: int, value: object) -> None:
    term = ends.cluster[3].group.term
    piece: Message = [messages.SNAPSHOT, 0, term, BASE, 1, 10, 3, bytes(16), b"12345"]
    piece[field] = value
    with pytest.raises(MalformedMessageError):
        ends.receiver.step(1, piece)


def test_closed_transfer_leaves_nothing_behind(ends: Ends, tmp_path: Path) -> None:
    ends.run(4)
    ends.receiver.close()
    ends.sender.close()
    assert ends.sender.needed_from is None
    assert not list(tmp_path.glob("3/*"))


# What the log must keep


def test_log_is_needed_from_the_snapshot_on_while_it_is_sent(ends: Ends) -> None:
    assert ends.sender.needed_from is None
    ends.round()
    assert ends.sender.needed_from == BASE
    ends.run()
    assert ends.sender.needed_from == BASE, "it has not installed it"
    ends.cluster[3].install(BASE, 1)
    ends.cluster.run((1, 3), ticking=[1])
    ends.lead()
    assert ends.sender.needed_from is None


def test_follower_that_goes_away_needs_nothing(ends: Ends) -> None:
    ends.run(4)
    ends.cluster.disconnect(1, 3)
    ends.lead()
    assert ends.sender.needed_from is None


def test_snapshot_is_given_up_when_the_log_has_let_go_what_follows_it(ends: Ends) -> None:
    """The follower was too slow for too long: see `Compaction`."""
    ends.run(4)
    ends.cluster[1].log.compact(BASE + 2)
    assert ends.run(3) == [], "there is no newer one yet"
    assert ends.sender.needed_from is None
    newer = bytes(reversed(CONTENT))
    stored(ends.snapshots, newer, index=BASE + 2)
    ends.run()
    assert content_of(ends.completed[0]) == newer


# A snapshot that is of no use


def test_refused_snapshot_is_not_sent_again_before_there_is_another(ends: Ends) -> None:
    """It may be damaged on the leader's disk, where nobody else reads it."""
    ends.run()
    ends.receiver.failed(OSError("does not match its digest"))
    assert not ends.sender.wants_snapshot
    ends.cluster.clock.now += 1.5
    ends.run(5)
    assert ends.sender.wants_snapshot
    for _ in range(20):
        ends.cluster.clock.now += 0.5
        assert ends.round() == []
    assert ends.sender.needed_from is None
    new = b"whole"
    stored(ends.snapshots, new, index=BASE + 1)
    ends.sender.snapshot_taken()
    ends.run()
    assert content_of(ends.completed[-1]) == new


def test_snapshot_that_was_not_needed_any_more_is_no_reason_for_another(ends: Ends) -> None:
    ends.run()
    ends.receiver.received_in_vain()
    assert not ends.sender.wants_snapshot
    assert ends.sender.needed_from == BASE


@pytest.mark.parametrize("index", [None, BASE - 1])
def test_leader_without_a_useful_snapshot_sends_none(
    make: Make, begin: Callable[[Make], Ends], index: int | None
) -> None:
    ends = begin(make)
    if index is not None:
        stored(ends.snapshots, CONTENT, index=index)
    assert ends.run(5) == []
    assert ends.sender.needed_from is None


def test_snapshot_that_cannot_be_read_is_replaced_and_complained_about_once(
    tmp_path: Path, begin: Callable[[Make], Ends], caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = DiskSnapshots(tmp_path / "1", _no_copy)

    def make(node: NodeId) -> Snapshots:
        return snapshots if node == 1 else MemorySnapshots(MemoryStore)

    ends = begin(make)
    info = stored(snapshots, CONTENT)
    snapshots.path_of(info).unlink()
    for _ in range(20):
        ends.cluster.clock.now += 0.5
        assert ends.round() == []
    assert ends.sender.wants_snapshot
    assert caplog.text.count("no snapshot can be sent") == 1


def test_full_disk_gives_up_what_came_and_takes_one_window_a_second(ends: Ends) -> None:
    full = FullDisk(ends.received)
    ends.receiver = ends.transfer(3, full)
    sent = 0
    for _ in range(1_000):
        ends.cluster.clock.now += 0.01
        sent += len(ends.round())
    assert ends.completed == []
    assert full.discarded
    assert sent < 11 * (1 + 3 + 1), "an offer and a window each second, no more"
    full.is_full = False
    for _ in range(300):
        ends.cluster.clock.now += 0.01
        ends.round()
    assert content_of(ends.completed[0]) == CONTENT


class FullDisk:
    """`Snapshots` in which every write fails for want of space."""

    def __init__(self, inner: Snapshots) -> None:
        self._inner = inner
        self.is_full = True
        self.discarded = 0

    @property
    def latest(self) -> SnapshotInfo | None:
        return self._inner.latest

    def take(self) -> Copy:
        raise AssertionError("nothing is taken here")

    def open(self) -> Source:
        raise AssertionError("nothing is sent from here")

    def receive(self, info: SnapshotInfo) -> Incoming:
        incoming = self._inner.receive(info)
        return FullIncoming(self, incoming) if self.is_full else incoming


class FullIncoming:
    """See `Incoming`."""

    def __init__(self, disk: FullDisk, inner: Incoming) -> None:
        self._disk = disk
        self._inner = inner
        self.info = inner.info

    @property
    def received(self) -> int:
        return self._inner.received

    def write(self, data: bytes) -> None:
        if data:
            self._inner.write(data[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def publish(self) -> None:
        raise AssertionError("it never comes whole")

    def discard(self) -> None:
        self._disk.discarded += 1
        self._inner.discard()
