"""Snapshots as files: consistent, synced before they count, and damage is noticed."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from cluster.replica import Replica
from cluster.state.errors import CorruptState
from cluster.state.machine import StateMachine
from cluster.state.store import Table
from cluster.storage import trust
from cluster.storage.lmdb_store import LmdbStore, read_copy
from cluster.storage.snapshots import DiskSnapshots, SnapshotDamaged, SnapshotInfo
from tests.unit.state.helpers import START_MS, commands_entry, put

BOOT = "boot-1"


class State:
    """A state in LMDB whose every entry writes its own index over ten keys."""

    def __init__(self, path: Path) -> None:
        self.store = LmdbStore(path, boot_id=BOOT)
        self.replica = Replica(self.store, StateMachine())

    def write(self, count: int = 1) -> None:
        for index in range(self.replica.applied_index + 1, self.replica.applied_index + 1 + count):
            batch = [put(b"key %d" % n, b"%d" % index) for n in range(10)]
            self.replica.apply([commands_entry(index, START_MS + index, *batch)], index)
            self.replica.store()

    def close(self) -> None:
        self.replica.close()
        self.store.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state")
    yield state
    state.close()


@pytest.fixture
def snapshots(state: State, tmp_path: Path) -> DiskSnapshots:
    return DiskSnapshots(tmp_path / "snapshots" / "0000", state.store.copy_to)


def names(snapshots: DiskSnapshots) -> list[str]:
    return sorted(path.name for path in snapshots.folder.iterdir())


def digest_of(path: Path) -> str:
    """What a state that begins with this snapshot holds."""
    store = LmdbStore(path.with_name("opened"), boot_id=BOOT, source=path)
    replica = Replica(store, StateMachine())
    digest = replica.digest()
    replica.abandon()
    store.discard()
    return digest


# Taking


def test_snapshot_is_named_after_what_it_holds(state: State, snapshots: DiskSnapshots) -> None:
    state.write(7)
    copy = snapshots.take()
    assert copy.applied_index == 7
    assert snapshots.latest is None, "it has no name yet"
    info = copy.publish(3)
    path = snapshots.path_of(info)
    content = path.read_bytes()
    assert info == SnapshotInfo(7, 3, len(content), blake2b(content, digest_size=16).digest())
    assert names(snapshots) == [f"7-3-{info.digest.hex()}.snapshot"]
    assert snapshots.latest == info
    assert snapshots.verified_path() == path
    assert digest_of(path) == state.replica.digest()


def test_copy_is_of_one_moment_although_writes_go_on(
    state: State, snapshots: DiskSnapshots
) -> None:
    state.write(50)
    with ThreadPoolExecutor(1) as executor:
        for _ in range(10):
            before = state.replica.applied_index
            taking = executor.submit(snapshots.take)
            while not taking.done():
                state.write()
            copy = taking.result()
            assert before <= copy.applied_index <= state.replica.applied_index
            info = copy.publish(1)
            with read_copy(snapshots.path_of(info)) as txn:
                rows = [value for _, value in txn.scan(Table.KV, b"")]
            assert len(rows) == 10
            index = b"%d" % copy.applied_index
            assert all(index in row for row in rows)


def test_the_newest_one_is_kept_and_found_again(state: State, snapshots: DiskSnapshots) -> None:
    state.write(3)
    snapshots.take().publish(1)
    state.write(3)
    info = snapshots.take().publish(1)
    assert names(snapshots) == [snapshots.path_of(info).name]
    assert DiskSnapshots(snapshots.folder, state.store.copy_to).latest == info


def test_everything_is_synced_before_it_counts(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log forgets what a snapshot holds: neither file, name nor folder may vanish then."""
    synced: list[tuple[str, list[str]]] = []
    folder = tmp_path / "new" / "snapshots" / "0000"
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        found = sorted(each.suffix for each in folder.iterdir()) if folder.exists() else []
        synced.append((path.name, found))
        fsync(descriptor)

    state.write()
    monkeypatch.setattr(os, "fsync", recorded)
    snapshots = DiskSnapshots(folder, state.store.copy_to)
    assert [name for name, _ in synced] == [tmp_path.name, "new", "snapshots", "0000"]
    snapshots.take().publish(1)
    synced.clear()
    state.write()
    snapshots.take().publish(1)
    assert synced == [
        ("copy.tmp", [".snapshot", ".tmp"]),
        ("0000", [".snapshot", ".snapshot"]),  # named, and the old one still there
    ]


def test_leftovers_of_a_crash_are_removed_and_whole_ones_kept(
    state: State, snapshots: DiskSnapshots
) -> None:
    state.write(3)
    info = snapshots.take().publish(1)
    snapshots.take()
    snapshots.receive(info._replace(last_index=9)).discard()
    (snapshots.folder / "incoming.tmp").write_bytes(b"half")
    (snapshots.folder / "notes.txt").write_text("of an operator")
    again = DiskSnapshots(snapshots.folder, state.store.copy_to)
    assert names(again) == [snapshots.path_of(info).name, "notes.txt"]
    assert again.latest == info


def test_copy_that_finds_no_space_leaves_nothing(state: State, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        os.write(descriptor, b"some of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    snapshots = DiskSnapshots(tmp_path / "full", full)
    with pytest.raises(OSError, match="No space left"):
        snapshots.take()
    assert names(snapshots) == []
    assert state.replica.applied_index == 0


def test_copy_of_a_store_on_a_full_device_is_an_os_error(state: State) -> None:
    state.write(10)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="copying the state"):
            state.store.copy_to(descriptor)
    finally:
        os.close(descriptor)
    state.write()


def test_copy_that_is_of_no_use_is_removed(state: State, snapshots: DiskSnapshots) -> None:
    state.write()
    snapshots.take().discard()
    assert names(snapshots) == []


# Sending and receiving


def test_snapshot_stays_readable_while_a_newer_one_replaces_it(
    state: State, snapshots: DiskSnapshots
) -> None:
    state.write(3)
    info = snapshots.take().publish(1)
    source = snapshots.open()
    first = source.read(0, 100)
    state.write()
    snapshots.take().publish(1)
    rest = source.read(100, info.size)
    assert source.info == info
    assert blake2b(first + rest, digest_size=16).digest() == info.digest
    source.close()


def received(tmp_path: Path, info: SnapshotInfo, content: bytes) -> DiskSnapshots:
    """A node that has got this content as that snapshot."""
    other = DiskSnapshots(tmp_path / "other", _no_copy)
    incoming = other.receive(info)
    for offset in range(0, len(content), 1_000):
        incoming.write(content[offset : offset + 1_000])
    assert incoming.received == len(content)
    try:
        incoming.publish()
    finally:
        incoming.discard()
    return other


def _no_copy(descriptor: int) -> None:
    raise AssertionError("no snapshot is taken here")


def test_received_snapshot_is_the_same(
    state: State, snapshots: DiskSnapshots, tmp_path: Path
) -> None:
    state.write(5)
    info = snapshots.take().publish(1)
    other = received(tmp_path, info, snapshots.path_of(info).read_bytes())
    assert other.latest == info
    assert digest_of(other.verified_path()) == state.replica.digest()


def test_every_flipped_bit_on_the_way_is_noticed(
    state: State, snapshots: DiskSnapshots, tmp_path: Path
) -> None:
    state.write(5)
    info = snapshots.take().publish(1)
    content = snapshots.path_of(info).read_bytes()
    for position in range(0, len(content), len(content) // 50):
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(SnapshotDamaged, match="does not match its digest"):
            received(tmp_path, info, bytes(damaged))
        assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("content", [b"no LMDB environment" * 1_000, b"\0" * 8192])
def test_what_is_no_state_is_refused_whatever_its_digest(tmp_path: Path, content: bytes) -> None:
    info = SnapshotInfo(5, 1, len(content), blake2b(content, digest_size=16).digest())
    with pytest.raises(CorruptState):
        received(tmp_path, info, content)
    assert list((tmp_path / "other").iterdir()) == []


def test_snapshot_of_another_entry_than_it_says_is_refused(
    state: State, snapshots: DiskSnapshots, tmp_path: Path
) -> None:
    state.write(5)
    info = snapshots.take().publish(1)
    content = snapshots.path_of(info).read_bytes()
    with pytest.raises(SnapshotDamaged, match="of entry 6 holds the state after entry 5"):
        received(tmp_path, info._replace(last_index=6), content)


def test_damage_on_the_disk_is_noticed_before_a_state_begins_with_it(
    state: State, snapshots: DiskSnapshots
) -> None:
    state.write(5)
    path = snapshots.path_of(snapshots.take().publish(1))
    content = path.read_bytes()
    for damaged in (content[:-1], b"x" + content[1:], content + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(SnapshotDamaged) as found:
            snapshots.verified_path()
        assert str(path) in str(found.value)
        assert str(found.value).startswith(str(path))


# A state that begins with one


def test_state_begins_anew_with_a_snapshot_whatever_it_held(
    state: State, snapshots: DiskSnapshots, tmp_path: Path
) -> None:
    state.write(5)
    path = snapshots.path_of(snapshots.take().publish(1))
    other = State(tmp_path / "behind")
    other.write(2)
    other.replica.abandon()
    other.store.discard()
    for boot_id in (BOOT, "boot-2", None):
        store = LmdbStore(tmp_path / "behind", boot_id=boot_id, source=path)
        replica = Replica(store, StateMachine())
        assert replica.digest() == state.replica.digest()
        replica.apply([commands_entry(6, START_MS + 9, put(b"new", b"value"))], 6)
        replica.close()
        store.discard()
        again = LmdbStore(tmp_path / "behind", boot_id=boot_id)
        replica = Replica(again, StateMachine())
        assert replica.applied_index == (0 if boot_id is None else 6)
        replica.abandon()
        again.discard()
    assert snapshots.verified_path() == path, "the snapshot itself is not written to"


def test_copying_that_fails_leaves_a_state_that_is_not_believed(
    state: State, snapshots: DiskSnapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:5_000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state.write(5)
    path = snapshots.path_of(snapshots.take().publish(1))
    other = State(tmp_path / "behind")
    other.write(2)
    other.close()
    with monkeypatch.context() as while_full:
        while_full.setattr(trust, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            LmdbStore(tmp_path / "behind", boot_id=BOOT, source=path)
    store = LmdbStore(tmp_path / "behind", boot_id=BOOT)
    replica = Replica(store, StateMachine())
    assert replica.applied_index == 0
    replica.abandon()
    store.close()
