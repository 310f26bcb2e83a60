"""A crash after every single operation on the disk: of a snapshot, of letting go of the log and of
switching segments, of an install, and of the start that finds what such a crash has left.

A program does each of these once under the library of `tests/chaos/power_shim.c`, which keeps what
every operation has changed. So the directory can be built as it was before any of them: with all
that the process had written, or with that alone which was synced, or with some of the rest.
"""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from cluster.storage.lmdb_store import LmdbStore
from cluster.storage.snapshots import SnapshotInfo
from tests.chaos.power import PowerDisk, Record, build_shim, find_compiler, read_journal
from tests.unit.node.test_snapshot_crashes import (
    BOOT,
    NEW,
    NEXT_BOOT,
    OLD,
    Disk,
    cut,
    digests,
    install_points,
    only,
    recovered,
)

_ROOT = Path(__file__).parents[3]
SECTOR = 512
STEP = 15
FIRST, SECOND, THIRD = 60, 120, 180
LAST_BOOT = "boot-3"


# What is done, in a process of its own


def reached(index: int) -> None:
    """What the log holds up to `index` must never be lost from now on."""
    sys.stdout.write(f"{index} {os.stat(os.environ['POWER_JOURNAL']).st_size}\n")
    sys.stdout.flush()


def write(disk: Disk, last_index: int) -> None:
    """In batches, each of which a crash leaves whole or not at all."""
    while disk.log.last_index < last_index:
        disk.write(min(disk.log.last_index + STEP, last_index))
        reached(disk.log.last_index)


def snapshots_and_compaction(path: Path) -> None:
    """The first start, two snapshots, letting go of the log, segments that are used again."""
    disk = Disk(path)
    disk.data.mark_initialized()
    reached(0)
    for index in (FIRST, SECOND):
        write(disk, index)
        disk.snapshot()
        disk.log.compact(index - 10)
        disk.sync()
        while disk.data.wal.plan_release():
            disk.data.wal.release()
    write(disk, THIRD)
    disk.close()


def install(path: Path) -> None:
    """A node that is far behind receives a snapshot and puts it in place."""
    disk = Disk(path)
    write(disk, OLD)
    info, content = sent(path.with_name("sender"))
    incoming = disk.data.snapshots[0].receive(info)
    for start in range(0, len(content), 30_000):
        incoming.write(content[start : start + 30_000])
    incoming.publish()
    reached(NEW)
    disk.log.reset(info.last_index, info.last_term)
    disk.sync()
    disk.data.reopen_from_snapshot(0)
    write(disk, NEW + STEP)
    os._exit(0)


def start_after_a_crash(path: Path) -> None:
    """A snapshot has its name, the log is not set to it, and the state is what a power cut left."""
    reached(NEW)
    disk = Disk(path, boot_id=NEXT_BOOT)
    disk.apply()
    disk.close()
    disk = Disk(path, boot_id=NEXT_BOOT)
    write(disk, NEW + STEP)
    os._exit(0)


def sent(path: Path) -> tuple[SnapshotInfo, bytes]:
    """The snapshot of a node that is further, and its bytes."""
    sender = Disk(path)
    sender.write(NEW)
    info = sender.snapshot()
    content = sender.data.snapshots[0].path_of(info).read_bytes()
    sender.close()
    return info, content


# What the disk looked like


class Milestone(NamedTuple):
    """From this offset of the journal on, the log must hold everything up to an entry."""

    offset: int
    reached: int


@dataclass
class Image:
    """Files and folders by inode. Undoing operations, the last one first, leads back in time."""

    root: int
    files: dict[int, bytearray]
    folders: dict[int, dict[str, int]]
    graves: dict[str, int]

    @classmethod
    def read(cls, root: Path, graveyard: Path) -> "Image":
        image = cls(root.stat().st_ino, {}, {}, {})
        for path in (root, *root.rglob("*"), *graveyard.iterdir()):
            inode = path.lstat().st_ino
            if path.is_dir():
                image.folders[inode] = {each.name: each.lstat().st_ino for each in path.iterdir()}
            else:
                image.files[inode] = bytearray(path.read_bytes())
        image.graves = {each.name: each.lstat().st_ino for each in graveyard.iterdir()}
        return image

    def copy(self) -> "Image":
        files = {inode: bytearray(data) for inode, data in self.files.items()}
        folders = {inode: dict(names) for inode, names in self.folders.items()}
        return Image(self.root, files, folders, self.graves)

    def undo(self, record: Record) -> None:
        """Of names, what is not as the operation left it is left alone."""
        if record.kind in "WT":
            data = self.files[record.inode]
            del data[record.b :]
            data.extend(bytes(record.b - len(data)))
            data[record.a : record.a + len(record.data)] = record.data
        elif record.kind == "C":
            self._forget(record.a, record.text[0], record.inode)
        elif record.kind == "U":
            self.folders[record.a].setdefault(record.text[0], record.inode)
        elif record.kind == "R" and self._forget(record.b, record.text[1], record.inode):
            self.folders[record.a].setdefault(record.text[0], record.inode)
            if record.text[2]:
                self.folders[record.b][record.text[1]] = self.graves[record.text[2]]

    def _forget(self, folder: int, name: str, inode: int) -> bool:
        names = self.folders[folder]
        if names.get(name) != inode:
            return False
        del names[name]
        return True

    def write(self, path: Path, folder: int = 0) -> None:
        path.mkdir()
        for name, inode in self.folders[folder or self.root].items():
            if inode in self.folders:
                self.write(path / name, inode)
            else:
                (path / name).write_bytes(self.files[inode])


def cut_power(image: Image, records: list[Record], rng: Random | None) -> None:
    """Undoes what no sync covers: all of it, or with `rng` any sectors, some last names."""
    synced: defaultdict[int, int] = defaultdict(int)
    for each in records:
        if each.kind == "S":
            synced[each.inode] = max(synced[each.inode], each.a)
    unsynced: defaultdict[int, list[Record]] = defaultdict(list)
    names: list[Record] = []
    for each in records:
        if each.kind in "WT" and each.offset >= synced[each.inode]:
            unsynced[each.inode].append(each)
        folders = {"C": [each.a], "U": [each.a], "R": [each.a, each.b]}.get(each.kind, [])
        if any(each.offset >= synced[folder] for folder in folders):
            names.append(each)
    for inode, changes in unsynced.items():
        written = bytes(image.files[inode])
        for each in reversed(changes):
            image.undo(each)
        if rng is not None:
            image.files[inode] = mixed(bytes(image.files[inode]), written, rng)
    kept = rng.randint(0, len(names)) if rng is not None else 0
    for each in reversed(names[kept:]):
        image.undo(each)


def mixed(old: bytes, new: bytes, rng: Random) -> bytearray:
    """Each sector as it was, or as it was written; of either length."""
    length = rng.choice((len(old), len(new)))
    share = rng.choice((0.1, 0.5, 0.9))
    found = bytearray(length)
    for start in range(0, length, SECTOR):
        source = new if rng.random() < share else old
        piece = source[start : min(start + SECTOR, length)]
        found[start : start + len(piece)] = piece
    return found


class Recording:
    """What a program did to its disk, operation by operation."""

    def __init__(self, root: Path, program: str, library: Path, *, begin_with: Path | None) -> None:
        disk = PowerDisk(library, root)
        if begin_with is not None:
            shutil.copytree(begin_with, root, dirs_exist_ok=True)
        environment = {**disk.environment(), "POWER_EVERY": "1", "PYTHONPATH": os.fspath(_ROOT)}
        self.before = self._tree(root)
        done = subprocess.run(
            [sys.executable, "-c", f"import {__name__} as this, pathlib\n{program}"],
            env=environment,
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        )
        said = (line.split() for line in done.stdout.splitlines())
        self.milestones = [Milestone(int(offset), int(index)) for index, offset in said]
        side = root.with_name(f"{root.name}.power")
        self.records = [record for record, _ in read_journal(side / "journal")]
        self._image = Image.read(root, side / "graveyard")

    def points(self) -> Iterator[tuple[int, Image]]:
        """Every number of operations that a crash can leave, with what is there then."""
        image = self._image.copy()
        yield len(self.records), image
        for count in reversed(range(len(self.records))):
            image.undo(self.records[count])
            # A sync changes nothing that is there, but what a power cut would leave.
            yield count, image

    def allowed(self, count: int) -> set[int]:
        """With what the log may end: what was reached before that operation, or what comes next."""
        offset = self.records[count].offset if count < len(self.records) else 1 << 62
        passed = [each.reached for each in self.milestones if each.offset <= offset]
        coming = [each.reached for each in self.milestones if each.offset > offset]
        return {*(passed[-1:] or [0]), *coming[:1]}

    @staticmethod
    def _tree(root: Path) -> dict[str, bytes]:
        return {
            os.fspath(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
            for path in root.rglob("*")
            if path.name != "lock.mdb"  # holds no data, and the library passes it over
        }

    def check_that_it_leads_back_to_the_beginning(self, path: Path) -> None:
        *_, (_, first) = self.points()
        first.write(path)
        assert self._tree(path) == self.before


PROGRAMS = {
    "snapshots_and_compaction": (BOOT, range(0, THIRD + 1, STEP)),
    "install": (BOOT, (0, STEP, OLD, NEW, NEW + STEP)),
    "start_after_a_crash": (NEXT_BOOT, (NEW, NEW + STEP)),
}
"""The boot in which each runs, and every entry with which the log may end."""


def crashes(before: Image, records: list[Record], boot_id: str) -> Iterator[tuple[str, Image]]:
    """What a crash of the process, or of the machine, would leave, and the boot id after it; an
    empty one cannot be read."""
    yield boot_id, before.copy()
    boots = ("", LAST_BOOT) if len(records) % 2 else (LAST_BOOT, "")
    for next_boot, rng in zip(boots, (None, Random(len(records))), strict=True):
        image = before.copy()
        cut_power(image, records, rng)
        yield next_boot, image


def passed_over(descriptor: int) -> None:
    """Instead of a sync."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("there is no C compiler (gcc or cc)")
    return build_shim(compiler, tmp_path_factory.mktemp("shim"))


def recording(tmp_path: Path, name: str, library: Path) -> Recording:
    begin_with: Path | None = None
    if name == "start_after_a_crash":
        disk = Disk(tmp_path / "prepared")
        points = dict(install_points(disk, tmp_path))
        disk.close()
        begin_with = points["named"]
        cut(only(begin_with, "data.mdb"))
    program = f"this.{name}(pathlib.Path.cwd())"
    return Recording(tmp_path / "data", program, library, begin_with=begin_with)


@pytest.mark.parametrize("name", PROGRAMS)
def test_crash_after_every_operation_leaves_the_old_state_or_the_new(
    tmp_path: Path, name: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recording(tmp_path, name, library)
    found.check_that_it_leads_back_to_the_beginning(tmp_path / "beginning")
    boot_id, indexes = PROGRAMS[name]
    right = digests(tmp_path, *indexes)
    assert len(found.records) > 50
    # Of the starts only the outcome matters; syncing takes most of their time.
    monkeypatch.setattr(os, "fsync", passed_over)
    monkeypatch.setattr(os, "fdatasync", passed_over)
    monkeypatch.setattr(LmdbStore, "close", LmdbStore.discard)
    seen: set[int] = set()
    for count, before in found.points():
        for next_boot, left in crashes(before, found.records[:count], boot_id):
            path = tmp_path / f"{count}-{next_boot}"
            left.write(path)
            index, digest = recovered(path, next_boot or None)
            assert index in found.allowed(count), path.name
            assert digest == right[index], path.name
            seen.add(index)
            shutil.rmtree(path)
            shutil.rmtree(path.with_name(f"{path.name}-again"))
    assert seen == set(indexes)
