"""What a node keeps in its data directory, opened in order and closed in reverse.

founding.json, peers.json    who this node is and whom it knows (`cluster/founding.py`)
initialized                  the write-ahead log has existed: without it the data is lost
wal/                         the log of all partitions
state/NNNN/                  the LMDB state of partition NNNN
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from cluster.errors import StartError
from cluster.founding import DataDirectory, DataDirectoryError, FoundingParameters
from cluster.peers.secret import secret_fingerprint
from cluster.placement import PlacementError
from cluster.replica import Replica
from cluster.state.errors import CorruptState, StoreFull
from cluster.state.machine import StateMachine
from cluster.storage.files import DirectoryInUse, DiskStorage
from cluster.storage.lmdb_store import LmdbStore, read_boot_id
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


class NodeData:
    """The open data directory of a node. Raises StartError with a message for people."""

    def __init__(self, config: "NodeConfig") -> None:
        self._stores: list[LmdbStore] = []
        self._storage: DiskStorage | None = None
        try:
            self.directory = _open_directory(config)
        except (DataDirectoryError, PlacementError) as error:
            raise StartError(str(error)) from error
        self._map_bytes = min(_MAP_BYTES_MAX, _MAPS_BYTES // config.partition_count)
        try:
            self.wal = self._open_wal(config)
            self.replicas = {
                number: self._open_replica(config.data_dir / "state" / f"{number:04d}")
                for number, nodes in enumerate(self.directory.founding.replicas)
                if config.node_id in nodes
            }
        except (DirectoryInUse, WalDamaged, CorruptState) as error:
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
            return
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.fsync(descriptor)
            os.close(descriptor)
            _sync_directory(self.directory.path)
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Closes everything; a clean stop of the stores is noted on the disk."""
        for store in reversed(self._stores):
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
        return Wal.open(self._storage, config.wal)

    def _open_replica(self, path: Path) -> Replica:
        store = LmdbStore(path, map_bytes=self._map_bytes, boot_id=read_boot_id())
        self._stores.append(store)
        return Replica(store, StateMachine())


def _open_directory(config: "NodeConfig") -> DataDirectory:
    parameters = FoundingParameters(
        members=config.members,
        replication=config.replication,
        partition_count=config.partition_count,
        secret_fingerprint=secret_fingerprint(config.secret),
    )
    return DataDirectory(config.data_dir, config.node_id, parameters)


def _has_segments(folder: Path) -> bool:
    return folder.is_dir() and any(
        segment_sequence(path.name) is not None for path in folder.iterdir()
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
