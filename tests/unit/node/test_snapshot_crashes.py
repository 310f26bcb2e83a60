"""Real files: a crash at every point of a snapshot, of letting go of the log, and of an install.

A crash of the process leaves what a copy of the directory holds. A crash of the operating system
leaves what was synced, under another boot id: of the rest anything may be there.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from cluster.addresses import Address, parse_members
from cluster.compaction import restore_point
from cluster.config import NodeConfig
from cluster.damage import DataDamagedError
from cluster.data import NodeData
from cluster.errors import StartError
from cluster.state.errors import CorruptState
from cluster.state.machine import StateMachine
from cluster.storage.lmdb_store import LmdbStore
from cluster.storage.records import COMMANDS_KIND
from cluster.storage.snapshots import SnapshotInfo
from cluster.storage.wal_config import WalConfig
from tests.unit.state.helpers import START_MS, commands_entry, put

BOOT, NEXT_BOOT = "boot-1", "boot-2"
AFTER = {"process": BOOT, "machine": NEXT_BOOT, "unknown boot": None}
"""The boot id that a start finds after a crash of each kind."""
WAL = WalConfig(segment_bytes=64 << 10, batch_bytes_max=16 << 10, groups_max=4)
OLD, NEW = 30, 90
"""What the state of the node that receives a snapshot ends with, and the snapshot."""


def config(data_dir: Path) -> NodeConfig:
    return NodeConfig(
        data_dir,
        node_id=1,
        listen=Address("127.0.0.1", 0),
        peer_listen=Address("127.0.0.1", 0),
        members=parse_members("1=a:1,2=b:1,3=c:1"),
        partition_count=1,
        wal=WAL,
    )


class Disk:
    """The data of a node with one partition, moved without a cluster."""

    def __init__(self, path: Path, *, boot_id: str | None = BOOT) -> None:
        self.path = path
        self.data = NodeData(config(path), boot_id=lambda: boot_id)
        self.log = self.data.wal.group(0)

    @property
    def replica_index(self) -> int:
        return self.data.replicas[0].applied_index

    def write(self, last_index: int) -> None:
        """Entries up to `last_index`: synced, and applied. Every node has the same ones."""
        for index in range(self.log.last_index + 1, last_index + 1):
            command = put(b"key %d" % (index % 40), Random(index).randbytes(500))
            entry = commands_entry(index, START_MS + index, command)
            self.log.append(index, 1 + index // 50, entry.data)
        self.sync()
        self.apply()

    def sync(self) -> None:
        ticket = self.data.wal.seal()
        if ticket is not None:
            self.data.wal.write_and_sync(ticket)
            self.data.wal.complete(ticket)

    def apply(self) -> None:
        """Whatever the log holds beyond the state."""
        first = self.replica_index + 1
        if first <= self.log.last_index:
            entries = self.log.entries(first, self.log.last_index + 1)
            assert all(entry.data[0] == COMMANDS_KIND for entry in entries)
            self.data.replicas[0].apply(entries, self.log.durable_index)

    def store(self) -> None:
        """As a running node does from time to time."""
        self.data.replicas[0].store()

    def digest(self) -> str:
        return self.data.replicas[0].digest()

    def term_of(self, index: int) -> int:
        term = self.log.term_at(index)
        assert term is not None
        return term

    def snapshot(self) -> SnapshotInfo:
        self.store()
        copy = self.data.snapshots[0].take()
        return copy.publish(self.term_of(copy.applied_index))

    def close(self) -> None:
        self.data.close()


def digests(tmp_path: Path, *indexes: int) -> dict[int, str]:
    """What the state is after each entry, on a node to which nothing happens."""
    disk = Disk(tmp_path / "untouched")
    found: dict[int, str] = {}
    for index in sorted(indexes):
        disk.write(index)
        found[index] = disk.digest()
    disk.close()
    return found


Point = tuple[str, Path]


class Crashes:
    """Copies of a directory as crashes would leave it, by the name of the point."""

    def __init__(self, disk: Disk, into: Path) -> None:
        self._disk = disk
        self._into = into
        self.points: list[Point] = []

    def here(self, name: str, change: Callable[[Path], None] | None = None) -> None:
        path = self._into / name.replace(" ", "-")
        shutil.copytree(self._disk.path, path)
        if change is not None:
            change(path)
        self.points.append((name, path))


def snapshot_points(disk: Disk, into: Path) -> list[Point]:
    """A second snapshot, letting go of the log, and of segments."""
    crashes = Crashes(disk, into)
    disk.write(60)
    disk.snapshot()
    disk.log.compact(40)
    disk.write(120)
    crashes.here("before")
    disk.store()
    crashes.here("stored")
    copy = disk.data.snapshots[0].take()
    crashes.here("copy unfinished", lambda path: cut(only(path, "copy.tmp")))
    crashes.here("copy unnamed")
    copy.publish(disk.term_of(copy.applied_index))
    crashes.here("named")
    crashes.here("named, the old one still there", lambda path: add_older_snapshot(path))
    disk.log.compact(110)
    crashes.here("log compacted, not synced")
    disk.sync()
    crashes.here("log compacted")
    disk.write(140)
    crashes.here("and gone on")
    while disk.data.wal.plan_release():
        disk.data.wal.release()
    crashes.here("segments let go")
    return crashes.points


def install_points(disk: Disk, into: Path) -> list[Point]:
    """A snapshot is received by a node whose state is far behind."""
    sender = Disk(into / "sender")
    sender.write(NEW)
    info = sender.snapshot()
    content = sender.data.snapshots[0].path_of(info).read_bytes()
    sender.close()

    crashes = Crashes(disk, into)
    disk.write(OLD)
    crashes.here("before")
    incoming = disk.data.snapshots[0].receive(info)
    incoming.write(content[: len(content) // 2])
    crashes.here("received unfinished")
    incoming.write(content[len(content) // 2 :])
    crashes.here("received unnamed")
    incoming.publish()
    crashes.here("named")
    disk.log.reset(info.last_index, info.last_term)
    crashes.here("log set, not synced")
    disk.sync()
    crashes.here("log set")
    for name, change in HALF_REPLACED.items():
        crashes.here(name, change)
    crashes.here("state replaced before the log is set", _replace_state_alone)
    disk.data.reopen_from_snapshot(0)
    crashes.here("state replaced")
    return crashes.points


def only(path: Path, pattern: str) -> Path:
    (found,) = path.rglob(pattern)
    return found


def cut(path: Path) -> None:
    data = path.read_bytes()
    assert len(data) > 2
    path.write_bytes(data[: len(data) // 2])


def add_older_snapshot(path: Path) -> None:
    newest = only(path, "*.snapshot")
    older = newest.with_name(f"60-2-{'ab' * 16}.snapshot")
    older.write_bytes(b"its content matters no more")


def _boot_removed(path: Path) -> None:
    only(path, "boot").unlink()


def _content_removed(path: Path) -> None:
    _boot_removed(path)
    for name in ("data.mdb", "lock.mdb"):
        only(path, name).unlink()


def _content_copied_in_part(path: Path) -> None:
    _content_removed(path)
    _copy_content(path)
    cut(path / "state" / "0000" / "data.mdb")


def _copy_content(path: Path) -> None:
    shutil.copyfile(only(path, "*.snapshot"), path / "state" / "0000" / "data.mdb")


def _content_copied(path: Path) -> None:
    _content_removed(path)
    _copy_content(path)


def _replace_state_alone(path: Path) -> None:
    """It is done the other way round; but a start copes with this as well."""
    _content_copied(path)
    (path / "state" / "0000" / "boot").write_text(BOOT)
    shutil.rmtree(path / "wal")
    shutil.copytree(path.with_name("named") / "wal", path / "wal")


HALF_REPLACED = {
    "state no longer believed": _boot_removed,
    "state removed": _content_removed,
    "state copied in part": _content_copied_in_part,
    "state copied, not yet believed": _content_copied,
}
"""What `Trust.prepare` does one after the other."""


def rolled_back(path: Path, rng: Random) -> None:
    """What the machine had not synced is as it pleases: LMDB's file, unfinished snapshots."""
    for file in (*path.rglob("data.mdb"), *path.rglob("*.tmp")):
        data = bytearray(file.read_bytes())
        kind = rng.randrange(4)
        if kind == 0:
            data.clear()
        elif kind == 1:
            del data[rng.randrange(len(data)) :]
        elif kind == 2:
            for page in range(0, len(data), 4096):
                if rng.random() < 0.5:
                    data[page : page + 4096] = bytes(len(data[page : page + 4096]))
        file.write_bytes(data)


def recovered(path: Path, boot_id: str | None) -> tuple[int, str]:
    """Opens the directory and replays; what the state then ends with, and its digest.

    Twice, with a crash in between: what a start does may be interrupted, too.
    """
    found: list[tuple[int, str]] = []
    for _ in range(2):
        disk = Disk(path, boot_id=boot_id)
        assert disk.log.base_index <= disk.replica_index <= disk.log.last_index
        assert not list((path / "snapshots").rglob("*.tmp")), "leftovers are removed"
        disk.apply()
        found.append((disk.replica_index, disk.digest()))
        crashed = path.with_name(f"{path.name}-again")
        shutil.copytree(path, crashed)
        disk.close()
        path = crashed
    assert found[0] == found[1]
    return found[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "data")
    yield disk
    disk.close()


@pytest.mark.parametrize("crash", AFTER)
def test_crash_at_every_point_of_a_snapshot_and_of_compaction_loses_nothing(
    disk: Disk, tmp_path: Path, crash: str
) -> None:
    right = digests(tmp_path, 120, 140)
    points = snapshot_points(disk, tmp_path)
    assert len(points) == 10
    for name, path in points:
        if crash != "process":
            rolled_back(path, Random(name))
        index, digest = recovered(path, AFTER[crash])
        assert index == (140 if name in ("and gone on", "segments let go") else 120), name
        assert digest == right[index], name


@pytest.mark.parametrize("crash", AFTER)
def test_crash_at_every_point_of_an_install_leaves_the_old_state_or_the_new(
    disk: Disk, tmp_path: Path, crash: str
) -> None:
    right = digests(tmp_path, OLD, NEW)
    points = install_points(disk, tmp_path)
    assert len(points) == 12
    old = {"before", "received unfinished", "received unnamed"}
    for name, path in points:
        if crash != "process":
            rolled_back(path, Random(name))
        index, digest = recovered(path, AFTER[crash])
        assert index == (OLD if name in old else NEW), name
        assert digest == right[index], name


def test_received_snapshot_leaves_entries_that_agree_with_it_in_the_log(
    disk: Disk, tmp_path: Path
) -> None:
    """The log had more than it knew to be committed."""
    disk.write(OLD)
    sender = Disk(tmp_path / "sender")
    sender.write(OLD - 10)
    info = sender.snapshot()
    incoming = disk.data.snapshots[0].receive(info)
    incoming.write(sender.data.snapshots[0].path_of(info).read_bytes())
    incoming.publish()
    sender.close()
    assert not restore_point(disk.data.wal, 0, info, OLD)
    assert disk.log.last_index == OLD
    shutil.copytree(disk.path, tmp_path / "crashed")
    assert recovered(tmp_path / "crashed", BOOT) == (OLD, digests(tmp_path, OLD)[OLD])


def test_second_install_over_a_snapshot_of_ones_own(disk: Disk, tmp_path: Path) -> None:
    disk.write(OLD)
    disk.snapshot()
    disk.log.compact(OLD)
    disk.sync()
    sender = Disk(tmp_path / "sender")
    sender.write(NEW)
    info = sender.snapshot()
    incoming = disk.data.snapshots[0].receive(info)
    incoming.write(sender.data.snapshots[0].path_of(info).read_bytes())
    sender.close()
    incoming.publish()
    shutil.copytree(disk.path, tmp_path / "crashed")
    index, digest = recovered(tmp_path / "crashed", BOOT)
    assert (index, digest) == (NEW, digests(tmp_path, NEW)[NEW])
    assert only(disk.path, "*.snapshot").name.startswith(f"{NEW}-")


def test_stop_stores_what_was_applied(tmp_path: Path) -> None:
    """A start after it has nothing to apply, whatever boot it is."""
    disk = Disk(tmp_path / "data")
    disk.write(OLD)
    disk.write(NEW)
    digest = disk.digest()
    shutil.copytree(disk.path, tmp_path / "crashed")
    disk.close()
    stopped, crashed = Disk(tmp_path / "data", boot_id=NEXT_BOOT), Disk(tmp_path / "crashed")
    assert (stopped.replica_index, stopped.digest()) == (NEW, digest)
    assert crashed.replica_index < NEW
    crashed.apply()
    assert (crashed.replica_index, crashed.digest()) == (NEW, digest)
    stopped.close()
    crashed.close()


@pytest.mark.parametrize(
    "fails", [(LmdbStore, "__init__"), (StateMachine, "load")], ids=["store", "content"]
)
def test_reopening_from_a_snapshot_may_fail_and_be_done_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, fails: tuple[type, str]
) -> None:
    disk.write(OLD)
    info = disk.snapshot()
    digest = disk.digest()
    disk.write(NEW)

    def damaged(*_: object, **__: object) -> None:
        raise CorruptState("for this test")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(*fails, damaged)
            with pytest.raises(CorruptState, match="for this test"):
                disk.data.reopen_from_snapshot(0)
    disk.data.reopen_from_snapshot(0)
    assert (disk.replica_index, disk.digest()) == (info.last_index, digest)


# Damage


def compacted(disk: Disk) -> Path:
    """The log needs its snapshot; the file is returned, and the node is stopped uncleanly."""
    disk.write(NEW)
    disk.snapshot()
    disk.log.compact(NEW - 5)
    disk.sync()
    return only(disk.path, "*.snapshot")


def crashed_copy(disk: Disk, tmp_path: Path) -> Path:
    path = tmp_path / "crashed"
    shutil.copytree(disk.path, path)
    return path


def files_below(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for folder in ("wal", "snapshots")
        for file in sorted((path / folder).rglob("*"))
        if file.is_file()
    }


def test_flipped_bit_in_the_snapshot_stops_the_start_and_nothing_is_removed(
    disk: Disk, tmp_path: Path
) -> None:
    compacted(disk)
    path = crashed_copy(disk, tmp_path)
    damaged = only(path, "*.snapshot")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 4
    damaged.write_bytes(data)
    before = files_below(path)
    for _ in range(2):
        with pytest.raises(DataDamagedError) as refused:
            Disk(path, boot_id=NEXT_BOOT)
        assert str(damaged) in str(refused.value)
    assert files_below(path) == before


def test_missing_snapshot_stops_the_start_and_nothing_is_removed(
    disk: Disk, tmp_path: Path
) -> None:
    compacted(disk)
    path = crashed_copy(disk, tmp_path)
    only(path, "*.snapshot").unlink()
    before = files_below(path)
    with pytest.raises(DataDamagedError) as refused:
        Disk(path, boot_id=NEXT_BOOT)
    assert f"{path / 'snapshots' / '0000'} lacks the snapshot of entry {NEW - 5}" in str(
        refused.value
    )
    assert files_below(path) == before


def test_snapshot_that_is_older_than_the_log_is_as_good_as_none(disk: Disk, tmp_path: Path) -> None:
    snapshot = compacted(disk)
    path = crashed_copy(disk, tmp_path)
    digest = snapshot.name.split("-")[2]
    only(path, "*.snapshot").rename(path / "snapshots" / "0000" / f"{NEW - 20}-1-{digest}")
    with pytest.raises(StartError, match="lacks the snapshot of entry"):
        Disk(path, boot_id=None)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_state_that_is_believed_needs_no_snapshot(disk: Disk, tmp_path: Path, damage: str) -> None:
    """The next one replaces it: see `Compaction`."""
    compacted(disk)
    path = crashed_copy(disk, tmp_path)
    snapshot = only(path, "*.snapshot")
    if damage == "missing":
        snapshot.unlink()
    else:
        snapshot.write_bytes(b"x" + snapshot.read_bytes()[1:])
    index, digest = recovered(path, BOOT)
    assert (index, digest) == (NEW, digests(tmp_path, NEW)[NEW])


def test_damaged_state_can_be_removed_by_hand(disk: Disk, tmp_path: Path) -> None:
    """As the message says that names it."""
    compacted(disk)
    path = crashed_copy(disk, tmp_path)
    state = only(path, "data.mdb")
    data = bytearray(state.read_bytes())
    data[:8192] = bytes(8192)
    state.write_bytes(data)
    with pytest.raises(StartError, match="remove this replica's state"):
        Disk(path)
    shutil.rmtree(state.parent)
    index, digest = recovered(path, BOOT)
    assert (index, digest) == (NEW, digests(tmp_path, NEW)[NEW])
