"""Holes around the library's log, snapshots and membership, rows 7, 10 to 13, 17, 22 to 24 and 33:
each first shown on the bare library, then closed here. The numbers are those of the table in
`cluster/raft/DESIGN.md`. Our log's own damage tests are in `tests/unit/storage`."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from pysyncobj.node import Node

from cluster.raft import messages
from cluster.raft.core import Core
from cluster.raft.group import RaftGroup
from cluster.raft.journal import CoreJournal
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import GroupConfig, InvariantBrokenError
from cluster.storage.group_log import GroupLog
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged
from tests.unit.raft.bare import (
    MEMBERSHIP,
    NOOP,
    REGULAR,
    VERSION,
    BareNet,
    call,
    close,
    file_journal,
    pickled,
)
from tests.unit.raft.kit import WAL, Cluster, ManualClock, Message

leaves_files_open = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""The library opens its meta file and leaves closing it to chance."""


class NoEvents:
    """A core that stands alone tells nobody."""

    def core_sends(self, peer: int, message: object) -> None: ...
    def core_wants_append(self) -> None: ...
    def core_resets_deadline(self) -> None: ...
    def core_changed_role(self, old: object, new: object) -> None: ...


def lone_core(log: GroupLog | None = None) -> Core:
    log = log or Wal.open(MemoryStorage(), WAL).group(0)
    config = GroupConfig(0, 1, (1, 2, 3))
    return Core(config, CoreJournal(log, 0), ManualClock(), NoEvents())


# --- row 7: membership changes at the same time ---


def test_bare_library_row_07_accepts_three_uncommitted_members_at_once() -> None:
    net = BareNet((1, 2, 3), dynamicMembershipChange=True)
    net.elect(1)
    net.run()
    for newcomer in (4, 5, 6):
        change = pickled(["add", newcomer, Node(newcomer)])
        call(net[1], "_applyCommand", change, None, MEMBERSHIP)
    net.tick(1)
    assert net[1].members() == {2, 3, 4, 5, 6}
    assert net[1].commit_index < net[1].log[-1][0]


def test_row_07_membership_entries_are_refused() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    end, term = leader.log.last_index, leader.group.term
    change = bytes([MEMBERSHIP]) + pickled(["add", 4, Node(4)])
    entry: Message = [messages.APPEND, 0, term, 1, end, end, term, [term, change]]
    with pytest.raises(MalformedMessageError, match="of no known kind"):
        cluster[2].group.step(1, entry)
    assert cluster[2].log.last_index == end


def test_row_07_core_changes_no_membership() -> None:
    core = lone_core()
    assert call(core, "_SyncObj__changeCluster", ["add", 4]) is False
    with pytest.raises(InvariantBrokenError):
        call(core, "_applyCommand", pickled(["add", 4]), None, MEMBERSHIP)


def test_row_08_membership_is_the_configuration_also_after_a_restart() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(b"value")
    cluster.run()
    cluster[2].crash()
    cluster[2].start()
    assert cluster[2].group.config.peers == (1, 3)
    with pytest.raises(MalformedMessageError, match="node 4 is no replica"):
        cluster[2].group.step(4, [messages.VOTE, 0, 9, 9, 9, 0])


# --- rows 10 to 13: dump files, compaction, snapshot messages ---


@leaves_files_open
def test_bare_library_row_10_start_erases_entries_newer_than_the_dump(tmp_path: Path) -> None:
    net = BareNet((1, 2, 3))
    files = {
        "journalFile": str(tmp_path / "journal"),
        "fullDumpFile": str(tmp_path / "dump"),
        "useFork": False,
    }
    node = net.add(1, (1, 2, 3), **files)
    net.connect(1, 2)
    net.connect(1, 3)
    net.elect(1)
    for n in range(20):
        node.put(b"%d" % n)
    net.run()
    node.compact()
    call(
        node, "_SyncObj__tryLogCompaction"
    )  # the dump is written; the process dies before the log is cut
    for n in range(20, 30):
        node.put(b"%d" % n)
    for _ in range(3):
        call(node, "_checkCommandsToApply")
        net.deliver(1, 2)
        net.deliver(2, 1)
    before = node.log[-1]
    close(node.journal)
    after = net.add(1, (1, 2, 3), **files)
    assert after.log[-1] == before
    net.tick(1)
    assert after.log[-1][0] == before[0] - 10
    close(after.journal)


def test_row_10_start_keeps_every_synced_entry() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(*(b"%d" % n for n in range(20)))
    cluster.run()
    leader.propose(*(b"%d" % n for n in range(20, 30)))
    leader.turn()
    end = leader.log.last_index
    leader.crash(Crash.SYNCED)
    leader.start(applied_index=end - 10)  # the state holds what a snapshot would
    assert leader.log.last_index == end
    assert leader.payloads()[-1] == b"29"
    with pytest.raises(InvariantBrokenError, match="dump files are not used"):
        call(lone_core(), "_SyncObj__loadDumpFile", False)


def test_row_10_state_ahead_of_the_log_is_refused() -> None:
    log = Wal.open(MemoryStorage(), WAL).group(0)
    log.append(1, 0, b"\x01")
    with pytest.raises(InvariantBrokenError, match="lost entries that were synced"):
        CoreJournal(log, applied_index=2)


@leaves_files_open
def test_bare_library_row_11_compaction_stopped_midway_loses_the_log(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    journal = file_journal(str(tmp_path / "journal"))
    for index in range(1, 101):
        journal.add(b"\x00entry", index, 1)
    added: list[int] = []
    add = journal.add

    def add_three(command: bytes, idx: int, term: int) -> None:
        if len(added) == 3:
            raise Killed
        added.append(idx)
        add(command, idx, term)

    vars(journal)["add"] = add_three
    with pytest.raises(Killed):
        journal.deleteEntriesTo(50)
    after = file_journal(str(tmp_path / "journal"))
    assert len(after) == 3, "of 50"
    close(journal, after)


def test_row_11_core_compacts_nothing() -> None:
    log = Wal.open(MemoryStorage(), WAL).group(0)
    core = lone_core(log)
    call(core, "forceLogCompaction")
    call(core, "_SyncObj__tryLogCompaction")
    core.tick()
    assert log.last_index == 1
    assert log.entries(1, 2)[0].data == bytes([NOOP])


def test_bare_library_row_12_failed_snapshot_install_is_acknowledged() -> None:
    net = BareNet((1, 2, 3))
    net.elect(2)
    net[2].put(b"base")
    net.run()
    net.isolate(2)
    for n in range(30):
        net[2].put(b"divergent%d" % n)
    net.tick(2)
    net.elect(1, (1, 3))
    for n in range(12):
        net[1].put(b"%d" % n)
    net.run((1, 3))
    net[1].compact()
    net.run((1, 3))
    for n in range(6):
        net[1].put(b"tail%d" % n)
    net.disconnect(1, 3)
    net.tick(1)
    before = net[1].commit_index
    vars(net[2].private("serializer"))["deserialize"] = _cannot_read
    net.connect(1, 2)
    for _ in range(200):
        net.tick(1, after_s=0.05)
        net.tick(2, after_s=0.05)
        net.deliver(1, 2)
        net.deliver(2, 1)
        net.wait_forever()
    assert net[1].commit_index > before, "alone with a follower that could not load a snapshot"
    assert net[1].commit_index not in [i for i, term in net[2].log if term == net[1].log[-1][1]]


def _cannot_read() -> None:
    raise ValueError("the snapshot is damaged")


SNAPSHOT_MESSAGES: list[Message] = [
    [messages.APPEND, 0, 2, 1, 1, b"chunk", True, True],
    [messages.APPEND, 0, 2, 1, 1, {"serialized": b"chunk"}],
    [messages.APPEND, 0, 2, 1, 1, 1, 0, {"transmission": "start", "data": b"chunk"}],
    [messages.APPEND, 0, 2, 1, 1, None, None, []],
    [11, 0, 2, 1, b"chunk"],
    ["append_entries", 0, "serialized", b"chunk"],
]


@pytest.mark.parametrize("row", [12, 13])
@pytest.mark.parametrize("message", SNAPSHOT_MESSAGES)
def test_row_12_13_snapshot_and_chunk_messages_are_refused(message: Message, row: int) -> None:
    cluster = Cluster()
    follower = cluster[2]
    with pytest.raises(MalformedMessageError):
        follower.group.step(1, message)
    follower.turn()
    assert cluster.sent(2, 1, messages.APPEND_REPLY) == [], f"row {row}: nothing is acknowledged"
    assert follower.group.term == 0


# --- rows 17, 22, 23, 33: the journal ---


@leaves_files_open
def test_bare_library_row_17_restores_a_commit_index_past_its_log(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    net = BareNet((1, 2, 3))
    node = net.add(1, (1, 2, 3), journalFile=path)
    net.connect(1, 2)
    net.elect(1, (1, 2))
    node.put(b"value")
    net.run((1, 2))
    net.now += 2
    net.tick(1)  # the commit index is written once a second
    close(node.journal)
    os.remove(path)  # the power cut took the entries, which were never synced
    after = net.add(1, (1, 2, 3), journalFile=path)
    assert after.commit_index > after.log[-1][0]
    close(after.journal)


def test_row_17_commit_index_never_exceeds_the_log() -> None:
    log = Wal.open(MemoryStorage(), WAL).group(0)
    log.append(1, 0, b"\x01")
    log.set_hard_state(HardState(3, 0, 17))
    assert CoreJournal(log, 0).getRaftCommitIndex() == 1


@leaves_files_open
def test_bare_library_row_22_flipped_bit_loads_silently(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = file_journal(str(path))
    for index in range(1, 9):
        journal.add(b"\x00entry %d" % index, index, 1)
    close(journal)
    stored = path.read_bytes()
    path.write_bytes(stored.replace(b"entry 5", b"entry %"))
    damaged = file_journal(str(path))
    assert damaged[4][0] == b"\x00entry %"
    damaged.add(b"\x00", 77, 1)
    assert damaged[8][1] == 77, "and nobody minds a gap"
    close(damaged)


def test_row_22_flipped_bit_stops_the_start() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(*(b"entry %d" % n for n in range(8)))
    cluster.run()
    cluster[1].propose(b"one more batch behind it")
    cluster.run()
    storage = cluster[2].storage
    cluster[2].crash()
    name = storage.list()[0]
    file = storage.open(name)
    offset = file.read_at(0, file.size()).index(b"entry 5")
    file.write_at(offset + 6, b"%")
    with pytest.raises(WalDamaged):
        Wal.open(storage, WAL)


def test_row_22_gap_in_the_log_breaks_the_replica() -> None:
    log = Wal.open(MemoryStorage(), WAL).group(0)
    journal = CoreJournal(log, 0)
    journal.add(b"\x01", 1, 0)
    with pytest.raises(InvariantBrokenError, match="entry 3 does not follow 1"):
        journal.add(b"\x00", 3, 1)


@leaves_files_open
def test_bare_library_row_23_offset_has_four_bytes(tmp_path: Path) -> None:
    journal = file_journal(str(tmp_path / "journal"))
    with pytest.raises(struct.error):
        call(journal, "_FileJournal__setLastRecordOffset", 1 << 32)
    close(journal)


def test_row_23_log_spans_many_segments() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    for n in range(40):
        leader.propose(b"%08000d" % n)
        cluster.run(rounds=1)
    cluster.run()
    assert len(leader.storage.list()) > 4
    leader.crash()
    leader.start()
    assert len(leader.payloads()) == 40


def test_bare_library_row_33_restarted_node_knows_nothing(tmp_path: Path) -> None:
    net = BareNet((1,))
    net.elect(1)
    net[1].put(b"value")
    net.run()
    journal = net[1].journal
    after = net.add(1, (1,))
    after.set_private("raftLog", journal)
    assert len(after.log) == 3
    assert after.applied == []
    assert after.last_applied == after.commit_index == 1


def test_row_33_restarted_replica_applies_what_it_knows_committed() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(b"one", b"two")
    cluster.run()
    cluster[1].propose(b"carries the commit index to the disk")
    cluster.run()
    cluster[2].crash()
    cluster[2].start()
    cluster[2].turn()
    assert cluster[2].applied[:2] == [b"one", b"two"], "with no peer at all"
    assert not cluster[2].group.is_ready


def test_row_33_restarted_replica_goes_on_where_its_state_stands() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(b"one", b"two")
    cluster.run()
    stands_at = cluster[2].group.applied_index
    cluster[2].crash()
    cluster[2].start(applied_index=stands_at)
    cluster[1].propose(b"three")
    cluster.settle()
    assert cluster[2].applied == [b"three"]


# --- row 24: pickle ---


ran: list[str] = []


def run_in_the_receiver(what: str) -> int:
    ran.append(what)
    return 0


class Payload:
    """Pickles into a call."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return run_in_the_receiver, ("anything",)


def test_bare_library_row_24_entry_runs_a_function_of_its_sender() -> None:
    net = BareNet((1, 2))
    net.elect(1)
    net.run()
    term, (end, end_term) = net[1].raftCurrentTerm, net[2].log[-1]
    entry = (bytes([VERSION]) + pickled(Payload()), end + 1, term)
    append = {
        "type": "append_entries",
        "term": term,
        "commit_index": end + 1,
        "entries": [entry],
        "prevLogIdx": end,
        "prevLogTerm": end_term,
    }
    ran.clear()
    net.receive(2, 1, append)
    net.tick(2)
    assert ran == ["anything"]


@pytest.mark.parametrize("kind", [VERSION, MEMBERSHIP, 4, 255])
def test_row_24_only_our_two_kinds_of_entries_pass(kind: int) -> None:
    with pytest.raises(MalformedMessageError):
        messages.decode_append([1, 1, 0, 1, 0, [1, bytes([kind]) + b"cos\nsystem\n."]])
    for allowed in (REGULAR, NOOP):
        assert len(messages.decode_append([1, 1, 0, 1, 0, [1, bytes([allowed])]]).entries) == 1


def test_row_24_core_applies_nothing_and_sees_no_payload() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(b"value")
    cluster.run()
    journal = CoreJournal(cluster[1].log, 0)
    assert {data for data, _, _ in journal.light_entries(1, 100)} == {b""}
    assert journal[-1][0] == b""
    with pytest.raises(InvariantBrokenError, match="applies nothing"):
        call(lone_core(), "_SyncObj__doApplyCommand", b"\x00anything")


def test_group_is_built_from_its_log_alone() -> None:
    """Entry 1 is the same everywhere, so an empty log and a fresh one do not differ."""
    wal = Wal.open(MemoryStorage(), WAL)
    group = RaftGroup(
        GroupConfig(0, 1, (1, 2, 3)),
        wal=wal,
        log=wal.group(0),
        clock=ManualClock(),
        rng=Random(1),
        applied_index=0,
    )
    assert (group.last_index, group.term, group.leader) == (1, 0, 0)
    assert wal.group(0).entries(1, 2)[0].data == bytes([NOOP])
