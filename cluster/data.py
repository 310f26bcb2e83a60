"""What a node keeps in its data directory, opened in order and closed in reverse.

founding.json, peers.json    who this node is and whom it knows (`cluster/founding.py`)
initialized                  the write-ahead log has existed: without it the data is lost
wal/                         the log of all partitions
state/NNNN/                  the LMDB state of partition NNNN
snapshots/NNNN/              its newest snapshot (`cluster/storage/snapshots.py`)
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from cluster.clock import SystemClock
from cluster.compaction import restore_point
from cluster.damage import DataDamagedError, state_folder
from cluster.errors import StartError
from cluster.founding import DataDirectory, FoundingParameters
from cluster.peers.secret import secret_fingerprint
from cluster.placement import PlacementError
from cluster.replica import Replica
from cluster.sealed_files import DataDirectoryError
from cluster.state.errors import CorruptState, StoreFull
from cluster.state.machine import StateMachine
from cluster.storage.files import DirectoryInUse, DiskStorage, SyncFailed, sync_path
from cluster.storage.lmdb_store import LmdbStore, read_boot_id
from cluster.storage.snapshots import DiskSnapshots, SnapshotDamaged
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged
from cluster.storage.wal_format import segment_sequence

if TYPE_CHECKING:
    from cluster.config import NodeConfig

logger = logging.getLogger("flo.node")

_INITIALIZED = "initialized"
_MAP_BYTES_MAX = 1 << 40
_MAPS_BYTES = 1 << 45
"""Of address space for the states of all partitions: a process has 128 TiB, and may run several
nodes. A map is never resized."""
_UNSTORED_BYTES_MAX, _UNSTORED_BYTES_LEAST = 64 << 20, 256 << 10
"""What is applied and in memory alone: of all partitions, but so much for each."""


class NodeData:
    """The open data directory of a node. Raises StartError with a message for people."""

    def __init__(
        self, config: "NodeConfig", *, boot_id: Callable[[], str | None] = read_boot_id
    ) -> None:
        self._boot_id = boot_id
        self._stores: dict[int, LmdbStore] = {}
        self.replicas: dict[int, Replica] = {}
        self._path = config.data_dir
        self._storage: DiskStorage | None = None
        try:
            self.directory = _open_directory(config)
        except (DataDirectoryError, PlacementError) as error:
            raise StartError(str(error)) from error
        self._map_bytes = min(_MAP_BYTES_MAX, _MAPS_BYTES // config.partition_count)
        share = _UNSTORED_BYTES_MAX // config.partition_count
        self._unstored_bytes_max = max(_UNSTORED_BYTES_LEAST, share)
        try:
            self.wal = self._open_wal(config)
            numbers = [
                number
                for number, nodes in enumerate(self.directory.founding.replicas)
                if config.node_id in nodes
            ]
            self.snapshots = {number: self._open_snapshots(number) for number in numbers}
            for number in numbers:
                self.replicas[number] = self._open_undamaged(number)
        except WalDamaged as error:
            self.close()
            raise DataDamagedError(
                f"{self._path / 'wal' / error.file} is damaged at byte {error.offset}:"
                f" {error.reason}"
            ) from error
        except SnapshotDamaged as error:
            self.close()
            raise DataDamagedError(str(error)) from error
        except (DirectoryInUse, SyncFailed) as error:
            self.close()
            raise StartError(str(error)) from error
        except (OSError, lmdb.Error, StoreFull) as error:
            self.close()
            raise StartError(
                f"cannot open the data directory {config.data_dir}: {error}"
            ) from error

    def mark_initialized(self) -> None:
        """From now on a missing log means that data was lost. Raises StartError."""
        path = self.directory.path / _INITIALIZED
        if path.exists():
            return  # Its name is safe: opening the directory has synced that.
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            sync_path(path)
            sync_path(self.directory.path)
        except SyncFailed as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Closes everything; a clean stop of the stores is noted on the disk."""
        for replica in reversed(self.replicas.values()):
            replica.close()
        for store in reversed(self._stores.values()):
            store.close()
        if hasattr(self, "wal"):
            self.wal.close()
        if self._storage is not None:
            self._storage.close()
        self.directory.close()

    def _open_wal(self, config: "NodeConfig") -> Wal:
        data_dir = config.data_dir
        folder = data_dir / "wal"
        if (data_dir / _INITIALIZED).exists() and not _has_segments(folder):
            raise StartError(
                f"the log is missing: {folder} is gone or empty, but {data_dir} has been in use."
                " Without its log this node would forget what it voted for and acknowledged."
                " Restore the directory, or leave the node stopped: the others go on without it"
            )
        self._storage = DiskStorage(str(folder))
        return Wal.open(self._storage, config.wal, where=str(folder))

    def state_bytes(self) -> int:
        """What the states of all partitions take on the disk."""
        return sum(store.used_bytes for store in self._stores.values())

    def reopen_from_snapshot(self, number: int) -> None:
        """Replaces a state by the newest snapshot; nobody else may use it meanwhile. Blocks.

        Raises OSError, SnapshotDamaged and CorruptState; it may be called again then.
        """
        store = self._stores.pop(number, None)
        if store is not None:
            replica = self.replicas.pop(number, None)
            if replica is not None:
                replica.abandon()
            store.discard()
        self.replicas[number] = self._open_from_snapshot(number)

    def _open_snapshots(self, number: int) -> DiskSnapshots:
        folder = self._path / "snapshots" / f"{number:04d}"
        return DiskSnapshots(folder, lambda descriptor: self._stores[number].copy_to(descriptor))

    def _open_undamaged(self, number: int) -> Replica:
        try:
            return self._open_replica(number)
        except CorruptState as error:
            self.close()
            raise DataDamagedError(str(error), number) from error

    def _open_replica(self, number: int) -> Replica:
        """From the state there is; from the snapshot when that is older than the log, or gone."""
        replica = self._open_store(number, None)
        latest = self.snapshots[number].latest
        applied_index = replica.applied_index
        base_index = self.wal.group(number).base_index
        if applied_index < base_index and (latest is None or latest.last_index < base_index):
            raise SnapshotDamaged(
                f"{self.snapshots[number].folder} lacks the snapshot of entry {base_index} or a"
                f" later one: the state ends with entry {applied_index}, and the log no longer"
                " holds what is between them"
            )
        if latest is None or not restore_point(self.wal, number, latest, applied_index):
            return replica
        logger.info(
            "partition %d: the state ends with entry %d; it begins anew with the snapshot of"
            " entry %d",
            *(number, applied_index, latest.last_index),
        )
        replica.abandon()
        self._stores.pop(number).discard()
        return self._open_from_snapshot(number)

    def _open_from_snapshot(self, number: int) -> Replica:
        return self._open_store(number, self.snapshots[number].verified_path())

    def _open_store(self, number: int, source: Path | None) -> Replica:
        path = state_folder(self._path, number)
        try:
            store = LmdbStore(
                path, map_bytes=self._map_bytes, boot_id=self._boot_id(), source=source
            )
            self._stores[number] = store
            most = self._unstored_bytes_max
            return Replica(store, StateMachine(), unstored_bytes_max=most)
        except CorruptState as error:
            raise CorruptState(f"partition {number}, {path / 'data.mdb'}: {error}") from error


def _open_directory(config: "NodeConfig") -> DataDirectory:
    parameters = FoundingParameters(
        members=config.members,
        replication=config.replication,
        partition_count=config.partition_count,
        secret_fingerprint=secret_fingerprint(config.secret),
    )
    repair_ms = SystemClock().wall_ms() if config.repair else None
    return DataDirectory(config.data_dir, config.node_id, parameters, repair_ms=repair_ms)


def _has_segments(folder: Path) -> bool:
    return folder.is_dir() and any(
        segment_sequence(path.name) is not None for path in folder.iterdir()
    )
