"""Writing, syncing and reading back a healthy log."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster.storage.files import DiskStorage
from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storage.wal_errors import WalFailed
from tests.unit.storage.wal_kit import SMALL, append, image, last_index, reopened, state, sync

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.storage.files import Bytes


def _busy_log(wal: Wal) -> None:
    one, two = wal.group(1), wal.group(2)
    append(one, 5, term=1)
    one.set_hard_state(HardState(1, 3, 0))
    append(two, 2, term=4, nbytes=300)
    sync(wal)
    one.truncate_from(3)
    append(one, 4, term=2)
    two.set_hard_state(HardState(4, 0, 1))
    sync(wal)
    one.note_commit(6)
    append(two, 40, term=5)
    sync(wal)


def test_what_was_synced_is_there_after_a_restart() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    _busy_log(wal)
    before = state(wal)
    wal.close()
    storage.crash(Random(0), Crash.SYNCED)
    assert reopened(storage) == before
    assert [entry.term for entry in before[1][0]] == [1, 1, 2, 2, 2, 2]
    assert before[1][1] == HardState(1, 3, 6)


def test_the_same_on_a_real_disk(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    wal = Wal.open(storage, SMALL)
    _busy_log(wal)
    before = state(wal)
    wal.close()
    storage.close()
    storage = DiskStorage(str(tmp_path))
    assert reopened(storage) == before
    assert reopened(storage) == before
    storage.close()


def test_segments_that_are_done_with_are_closed(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    wal = Wal.open(storage, replace(SMALL, tail_bytes=0))
    group = wal.group(1)
    open_files: set[int] = set()
    for _ in range(40):
        append(group, 1, nbytes=300)
        sync(wal)
        assert group.entries(1, 2)
        open_files.add(len(os.listdir("/proc/self/fd")))
    assert len(open_files) == 1
    wal.close()
    assert len(os.listdir("/proc/self/fd")) == open_files.pop() - 2
    storage.close()


def test_a_fresh_log_is_empty() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(7)
    assert wal.group(7) is group
    assert (group.first_index, group.last_index, group.last_term, group.durable_index) == (
        1,
        0,
        0,
        0,
    )
    assert group.hard_state == HardState(0, 0, 0)
    assert group.hard_state_durable
    assert not wal.has_unwritten
    assert wal.seal() is None


def test_nothing_is_durable_before_the_ticket_is_complete() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 3)
    group.set_hard_state(HardState(1, 2, 0))
    assert wal.has_unwritten
    assert (wal.lsn, wal.written_lsn, wal.durable_lsn) == (4, 0, 0)
    ticket = wal.seal()
    assert ticket is not None
    assert not wal.has_unwritten
    wal.write_and_sync(ticket)
    assert (wal.written_lsn, wal.durable_lsn, group.durable_index) == (4, 0, 0)
    assert not group.hard_state_durable
    assert group.durable_hard_state == HardState(0, 0, 0)
    wal.complete(ticket)
    assert (wal.durable_lsn, group.durable_index) == (4, 3)
    assert group.hard_state_durable
    assert group.durable_hard_state == HardState(1, 2, 0)


def test_records_buffered_after_the_seal_wait_for_the_next_ticket() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 1)
    ticket = wal.seal()
    assert ticket is not None
    append(group, 1)
    group.set_hard_state(HardState(9, 0, 0))
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert (wal.lsn, wal.durable_lsn, group.durable_index) == (3, 1, 1)
    assert not group.hard_state_durable
    sync(wal)
    assert (wal.durable_lsn, group.durable_index) == (3, 2)
    assert group.hard_state_durable


def test_one_ticket_at_a_time_and_in_order() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    append(wal.group(1), 1)
    ticket = wal.seal()
    assert ticket is not None
    append(wal.group(1), 1)
    with pytest.raises(AssertionError, match="not complete"):
        wal.seal()
    with pytest.raises(AssertionError, match="not written and synced"):
        wal.complete(ticket)
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    with pytest.raises(AssertionError, match="not the one under way"):
        wal.complete(ticket)


def test_the_loop_thread_appends_while_a_helper_syncs(tmp_path: Path) -> None:
    storage = _GatedStorage(str(tmp_path))
    wal = Wal.open(storage, SMALL)
    storage.armed = True
    group = wal.group(1)
    append(group, 1)
    ticket = wal.seal()
    assert ticket is not None
    helper = threading.Thread(target=wal.write_and_sync, args=(ticket,))
    helper.start()
    assert storage.in_sync.wait(10)
    append(group, 2)
    assert wal.has_unwritten
    assert group.durable_index == 0
    storage.armed = False
    storage.go_on.set()
    helper.join(10)
    wal.complete(ticket)
    assert group.durable_index == 1
    sync(wal)
    assert group.durable_index == 3
    wal.close()
    assert last_index(storage) == 3
    storage.close()


class _GatedFile:
    """Delays the sync of one file until the test lets it go on."""

    def __init__(self, storage: _GatedStorage, name: str) -> None:
        self._storage = storage
        self._file = storage.disk.open(name)
        self.read_at = self._file.read_at
        self.size = self._file.size
        self.close = self._file.close

    def write_at(self, offset: int, data: Bytes) -> None:
        self._file.write_at(offset, data)

    def sync(self) -> None:
        if self._storage.armed:
            self._storage.in_sync.set()
            assert self._storage.go_on.wait(10)
        self._file.sync()


class _GatedStorage:
    """A real directory whose syncs wait once armed."""

    def __init__(self, directory: str) -> None:
        self.disk = DiskStorage(directory)
        self.armed = False
        self.in_sync = threading.Event()
        self.go_on = threading.Event()
        self.create = self.disk.create
        self.list = self.disk.list
        self.rename = self.disk.rename
        self.remove = self.disk.remove
        self.sync_directory = self.disk.sync_directory
        self.close = self.disk.close

    def open(self, name: str) -> _GatedFile:
        return _GatedFile(self, name)


def test_a_noted_commit_waits_for_a_batch_that_is_written_anyway() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    group = wal.group(1)
    append(group, 3)
    sync(wal)
    group.note_commit(2)
    assert group.hard_state.commit == 2
    assert group.hard_state_durable
    assert not wal.has_unwritten
    assert wal.seal() is None
    wal.close()
    assert reopened(storage)[1][1].commit == 0, "nothing was written for it"

    wal = Wal.open(storage, SMALL)
    wal.group(1).note_commit(2)
    wal.group(1).note_commit(1)
    append(wal.group(2), 1)
    sync(wal)
    wal.close()
    assert reopened(storage)[1][1].commit == 2, "another group's batch took it along"


def test_a_commit_index_past_the_log_is_cut_to_its_end() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    group = wal.group(1)
    append(group, 3)
    group.set_hard_state(HardState(1, 0, 3))
    group.truncate_from(2)
    sync(wal)
    wal.close()
    assert reopened(storage)[1][1] == HardState(1, 0, 1)


def test_a_hard_state_that_is_already_known_is_not_written() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    wal.group(1).set_hard_state(HardState(1, 2, 0))
    sync(wal)
    wal.group(1).set_hard_state(HardState(1, 2, 0))
    assert not wal.has_unwritten


@pytest.mark.parametrize("later", [HardState(1, 0, 9), HardState(2, 2, 9), HardState(2, 0, 9)])
def test_a_term_or_vote_never_goes_back(later: HardState) -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    wal.group(1).set_hard_state(HardState(2, 0, 0))
    wal.group(1).set_hard_state(HardState(2, 1, 0))
    with pytest.raises(AssertionError, match="go back"):
        wal.group(1).set_hard_state(later)


def test_a_seal_larger_than_a_batch_becomes_several_each_synced_before_the_next() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 12, nbytes=300)
    before = state(wal)
    ticket = wal.seal()
    assert ticket is not None
    assert len(ticket.batches) == 4
    storage.fail(Operation.SYNC, after=2)
    with pytest.raises(OSError, match="Input/output"):
        wal.write_and_sync(ticket)
    storage.crash(Random(0), Crash.SYNCED)
    survived = reopened(storage)[1][0]
    assert survived == before[1][0][: len(survived)]
    assert len(survived) >= 3

    wal = Wal.open(MemoryStorage(), SMALL)
    append(wal.group(1), 12, nbytes=300)
    sync(wal)
    assert wal.group(1).durable_index == 12


def test_a_record_that_no_batch_can_hold_is_refused_and_changes_nothing() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    group.append(1, 1, bytes(SMALL.entry_bytes_max))
    with pytest.raises(ValueError, match="batch_bytes_max"):
        group.append(2, 1, bytes(SMALL.entry_bytes_max + 1))
    assert group.last_index == 1
    sync(wal)
    assert group.durable_index == 1


def test_a_failed_write_may_be_repeated() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 2)
    ticket = wal.seal()
    assert ticket is not None
    storage.fail(Operation.WRITE)
    with pytest.raises(OSError, match="Input/output"):
        wal.write_and_sync(ticket)
    assert wal.durable_lsn == 0
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    append(wal.group(1), 1)
    sync(wal)
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == 3


def test_after_a_failed_sync_every_call_is_refused() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    group = wal.group(1)
    append(group, 1)
    ticket = wal.seal()
    assert ticket is not None
    storage.fail(Operation.SYNC)
    with pytest.raises(OSError, match="Input/output"):
        wal.write_and_sync(ticket)
    files = image(storage)
    for call in (
        lambda: wal.write_and_sync(ticket),
        lambda: wal.complete(ticket),
        wal.seal,
        wal.prepare_next_segment,
        lambda: wal.has_room(1),
        lambda: group.append(2, 1, b""),
        lambda: group.truncate_from(1),
        lambda: group.set_hard_state(HardState(5, 0, 0)),
    ):
        with pytest.raises(WalFailed):
            call()
    assert group.durable_index == 0
    assert group.last_index == 1
    assert image(storage) == files


def test_a_restart_after_a_failed_sync_does_not_trust_the_page_cache() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    append(wal.group(1), 1)
    ticket = wal.seal()
    assert ticket is not None
    storage.fail(Operation.SYNC)
    with pytest.raises(OSError, match="Input/output"):
        wal.write_and_sync(ticket)
    storage.crash(Random(0), Crash.PROCESS)
    wal = Wal.open(storage, SMALL)
    assert wal.group(1).durable_index == 2
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == 2, "what a start calls durable must be"


def test_a_restart_syncs_what_a_killed_process_only_wrote() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    file = storage.open(storage.list()[0])
    append(wal.group(1), 1)
    ticket = wal.seal()
    assert ticket is not None
    synced = file.read_at(0, file.size())
    wal.write_and_sync(ticket)
    written = file.read_at(0, file.size())
    file.write_at(0, synced)
    file.sync()
    file.write_at(0, written)
    storage.crash(Random(0), Crash.PROCESS)
    assert Wal.open(storage, SMALL).group(1).durable_index == 2
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == 2


def test_group_ids_and_their_number_are_bounded() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    for group_id in (0, 1, 2, 65535):
        append(wal.group(group_id), 1)
    sync(wal)
    with pytest.raises(ValueError, match="groups_max"):
        wal.group(3)
    with pytest.raises(ValueError, match=r"not in 0\.\.65535"):
        wal.group(65536)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"segment_bytes": 1 << 20, "batch_bytes_max": 1 << 20}, "segment_bytes.*batch_bytes_max"),
        ({"segment_bytes": 2 << 30}, "segment_bytes"),
        ({"batch_bytes_max": 10}, "batch_bytes_max"),
        ({"groups_max": 0}, "groups_max"),
        ({"groups_max": 65537}, "groups_max"),
        ({"tail_bytes": -1}, "tail_bytes"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(config: dict[str, int], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        WalConfig(**config)


def test_the_default_takes_values_of_a_mebibyte_with_slack() -> None:
    assert WalConfig().entry_bytes_max > (1 << 20) + (64 << 10)
