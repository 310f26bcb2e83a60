"""Power cuts: what a killed process had not synced is undone, all of it or parts.

`power_shim.c` keeps the journal that this reads; its header says what is modelled.
"""

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

T = TypeVar("T")

_SOURCE = Path(__file__).with_name("power_shim.c")
_HEADER = Struct("<c3xIQQQQ")
_SECTOR = 512
_LOST = (1.0, 1.0, 0.5, 0.1)
"""How much of what was not synced a cut may take: mostly everything."""


def find_compiler() -> str | None:
    """A C compiler, if this machine has one."""
    return shutil.which("gcc") or shutil.which("cc")


def build_shim(compiler: str, directory: Path) -> Path:
    """Compiles the library for LD_PRELOAD."""
    library = directory / "power_shim.so"
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
    subprocess.run([compiler, *flags, "-o", str(library), str(_SOURCE)], check=True)
    return library


class LosesAll(Random):
    """Draws the first of what may be chosen: everything that was not synced is lost."""

    def choice(self, seq: "SupportsLenAndGetItem[T]") -> T:
        return seq[0]


@dataclass(frozen=True)
class Record:
    """One line of the journal. What `a` and `b` mean depends on the kind, as in `power_shim.c`."""

    kind: str
    offset: int
    inode: int
    a: int
    b: int
    text: list[str]
    data: bytes


@dataclass
class Loss:
    """What one power cut did."""

    unsynced: int = 0
    """Changes that no sync covered."""
    undone_sectors: int = 0
    undone_names: int = 0
    files: set[str] = field(default_factory=set[str])
    """Names of the files with unsynced writes."""


class PowerDisk:
    """The data directory of one node, with a power switch."""

    def __init__(self, library: Path, root: Path) -> None:
        self._library = library
        self._root = root.absolute()
        side = root.with_name(f"{root.name}.power")
        self._journal = side / "journal"
        self._graveyard = side / "graveyard"
        self._boot_id = side / "boot_id"
        # The name of the data directory itself is nothing that the node syncs.
        for folder in (self._root, self._graveyard):
            folder.mkdir(parents=True)
        self._boot_id.write_text("first boot\n")
        self._lies = side / "lies"

    def environment(self) -> dict[str, str]:
        """What the node's process needs."""
        return {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "POWER_ROOT": str(self._root),
            "POWER_JOURNAL": str(self._journal),
            "POWER_GRAVEYARD": str(self._graveyard),
            "POWER_BOOT_ID": str(self._boot_id),
            "POWER_LIES": str(self._lies),
        }

    def lie(self) -> None:
        """From now on the disk says that it has synced what it has not, and a cut takes all."""
        self._lies.touch()

    def before_start(self) -> None:
        """Drops a record that a killed process had begun: its change was not made."""
        if self._journal.exists():
            whole = 0
            for record, end in read_journal(self._journal, with_data=False):
                assert record.offset == whole
                whole = end
            os.truncate(self._journal, whole)

    def cut(self, rng: Random) -> Loss:
        """The power fails, and comes back: with the process dead, undoes what was not synced."""
        loss = Loss()
        if self._lies.exists():
            rng = LosesAll(rng.random())
        if self._journal.exists():
            records = [record for record, _ in read_journal(self._journal)]
            _undo_writes(self._unsynced_writes(records), self._paths(), rng, loss)
            self._undo_names(_unsynced_names(records), rng, loss)
            self._journal.unlink()
        shutil.rmtree(self._graveyard)
        self._graveyard.mkdir()
        self._boot_id.write_text(f"{UUID(int=rng.getrandbits(128))}\n")
        return loss

    def _unsynced_writes(self, records: list[Record]) -> dict[int, list[Record]]:
        synced = _synced(records)
        found: defaultdict[int, list[Record]] = defaultdict(list)
        for each in records:
            if each.kind in "WT" and each.offset >= synced[each.inode]:
                found[each.inode].append(each)
        return found

    def _undo_names(self, records: list[Record], rng: Random, loss: Loss) -> None:
        """The file system's journal keeps the order of such changes: some last ones are lost."""
        loss.unsynced += len(records)
        kept = rng.choice((0, rng.randint(0, len(records))))
        for each in reversed(records[kept:]):
            loss.undone_names += self._undo_name(each)

    def _undo_name(self, record: Record) -> bool:
        """False when it never happened: the process was killed before."""
        paths = self._paths()
        folder = paths.get(record.a)
        if folder is None:
            return False
        name = folder / record.text[0]
        if record.kind == "C":
            if _inode(name) != record.inode:
                return False
            name.rename(self._graveyard / f"created-{record.offset}")
            return True
        if record.kind == "U":
            if name.exists():
                return False
            name.hardlink_to(self._graveyard / record.text[1])
            return True
        target = paths[record.b] / record.text[1]
        if _inode(target) != record.inode or name.exists():
            return False
        target.rename(name)
        if record.text[2]:
            target.hardlink_to(self._graveyard / record.text[2])
        return True

    def _paths(self) -> dict[int, Path]:
        """Every inode below the data directory, and those that lost their names."""
        found = {self._root.stat().st_ino: self._root}
        for top in (self._graveyard, self._root):
            for folder, folders, files in os.walk(top):
                for name in (*folders, *files):
                    path = Path(folder, name)
                    found[path.lstat().st_ino] = path
        return found


def read_journal(journal: Path, *, with_data: bool = True) -> Iterator[tuple[Record, int]]:
    """Every whole record, and where it ends."""
    size = journal.stat().st_size
    with journal.open("rb") as file:
        offset = 0
        while offset + _HEADER.size <= size:
            kind, text_bytes, data_bytes, inode, a, b = _HEADER.unpack(file.read(_HEADER.size))
            end = offset + _HEADER.size + text_bytes + data_bytes
            if end > size:
                return
            text = file.read(text_bytes).decode().split("/")
            data = file.read(data_bytes) if with_data else b""
            file.seek(end)
            yield Record(kind.decode(), offset, inode, a, b, text, data), end
            offset = end


def _synced(records: list[Record]) -> defaultdict[int, int]:
    """Up to which offset of the journal the changes of each file, or directory, are durable."""
    synced: defaultdict[int, int] = defaultdict(int)
    for each in records:
        if each.kind == "S":
            synced[each.inode] = max(synced[each.inode], each.a)
    return synced


def _unsynced_names(records: list[Record]) -> list[Record]:
    synced = _synced(records)
    found: list[Record] = []
    for each in records:
        folders = {"C": [each.a], "U": [each.a], "R": [each.a, each.b]}.get(each.kind, [])
        if any(each.offset >= synced[folder] for folder in folders):
            found.append(each)
    return found


def _inode(path: Path) -> int | None:
    return path.lstat().st_ino if path.exists() else None


def _undo_writes(
    unsynced: dict[int, list[Record]], paths: dict[int, Path], rng: Random, loss: Loss
) -> None:
    lost = rng.choice(_LOST)
    for inode, records in unsynced.items():
        path = paths.get(inode)
        if path is None:
            continue
        loss.unsynced += len(records)
        loss.files.add(path.name)
        with path.open("r+b") as file:
            descriptor = file.fileno()
            if any(each.kind == "T" for each in records):
                # What depends on lengths is lost from some moment on.
                kept = 0 if lost == 1 else rng.randint(0, len(records))
                for each in reversed(records[kept:]):
                    os.truncate(descriptor, each.b)
                    loss.undone_sectors += _restore(descriptor, each, lambda _: True)
            else:
                loss.undone_sectors += _undo_sectors(descriptor, records, lost, rng)


def _undo_sectors(descriptor: int, records: list[Record], lost: float, rng: Random) -> int:
    """Each sector is lost or not by itself; so is what made the file longer."""
    drawn: dict[int, bool] = {}

    def is_lost(sector: int) -> bool:
        if sector not in drawn:
            drawn[sector] = rng.random() < lost
        return drawn[sector]

    size, old_size = os.fstat(descriptor).st_size, records[0].b
    undone = sum(_restore(descriptor, each, is_lost) for each in reversed(records))
    for start in range(old_size - old_size % _SECTOR, size, _SECTOR):
        begin = max(start, old_size)
        if is_lost(start // _SECTOR):
            os.pwrite(descriptor, bytes(min(start + _SECTOR, size) - begin), begin)
            undone += 1
    if rng.random() < lost:
        os.truncate(descriptor, old_size)
    return undone


def _restore(descriptor: int, record: Record, is_lost: Callable[[int], bool]) -> int:
    """Puts the lost sectors of a write back as they were; returns how many."""
    count = 0
    for start in range(0, len(record.data), _SECTOR):
        if is_lost((record.a + start) // _SECTOR):
            os.pwrite(descriptor, record.data[start : start + _SECTOR], record.a + start)
            count += 1
    return count
