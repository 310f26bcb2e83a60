"""What a cluster is founded with, and the data directory that remembers it.

Two files, each replaced as a whole (`cluster/sealed_files.py`):

- `founding.json`: this node's id and incarnation, and the founding configuration;
- `peers.json`: the incarnation first seen of every other node, and whether it accepted ours.

A directory created to repair a lost disk has a third one while that lasts:

- `repair.json`: the partitions in which this node does not vote or acknowledge yet.

`peers.json` is created first, so a directory with a `founding.json` always has both. Both carry a
checksum; a damaged one stops the start, it is never replaced by a fresh one.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypedDict, cast

from cluster.addresses import Member
from cluster.placement import effective_replication, place_replicas
from cluster.sealed_files import (
    DataDirectoryError,
    Fsync,
    canonical,
    read_sealed,
    sync_directory,
    write_sealed,
)

DEFAULT_PARTITION_COUNT = 8
DEFAULT_CLUSTER_NAME = "flo"

_FOUNDING_FILE = "founding.json"
_PEERS_FILE = "peers.json"
_REPAIR_FILE = "repair.json"
_LOCK_FILE = "lock"
# What an interrupted first start, or the file system, leaves in a directory that holds no data.
_HARMLESS = {
    "lost+found",
    _LOCK_FILE,
    _PEERS_FILE,
    _REPAIR_FILE,
    *(f"{name}.tmp" for name in (_PEERS_FILE, _REPAIR_FILE, _FOUNDING_FILE)),
}


class FoundingMismatch(DataDirectoryError):
    """A start whose parameters differ from those the directory was created with."""


class IncarnationMismatch(DataDirectoryError):
    """A known node id with another data directory than the one it was first seen with."""


@dataclass(frozen=True, slots=True)
class FoundingParameters:
    """What a start gives. None means: as stored, or the default for a new cluster."""

    members: tuple[Member, ...]
    replication: int | None = None
    partition_count: int | None = None
    cluster_name: str = DEFAULT_CLUSTER_NAME
    secret_fingerprint: str = ""
    """Goes into the id of a new cluster; not compared later, so that a secret can be changed."""


@dataclass(frozen=True, slots=True)
class FoundingConfig:
    """What every node of a cluster agrees on for the life of the cluster."""

    cluster_id: str
    cluster_name: str
    zones: Mapping[int, str]
    """Zone of every founding node, by node id."""
    replication: int
    partition_count: int
    replicas: tuple[tuple[int, ...], ...]
    """Node ids of each partition, the preferred leader first."""


def found_cluster(parameters: FoundingParameters) -> FoundingConfig:
    """The configuration of a new cluster; every node derives the same one without asking.

    Raises PlacementError when the parameters cannot be met.
    """
    zones = _zones(parameters)
    replication = effective_replication(parameters.replication, len(zones))
    partition_count = parameters.partition_count
    if partition_count is None:
        partition_count = DEFAULT_PARTITION_COUNT
    basis = [
        parameters.cluster_name,
        parameters.secret_fingerprint,
        sorted(zones.items()),
        replication,
        partition_count,
    ]
    return FoundingConfig(
        cluster_id=blake2b(canonical(basis), digest_size=16).hexdigest(),
        cluster_name=parameters.cluster_name,
        zones=zones,
        replication=replication,
        partition_count=partition_count,
        replicas=place_replicas(zones, replication=replication, partition_count=partition_count),
    )


def check_founding(stored: FoundingConfig, given: FoundingParameters, directory: Path) -> None:
    """Raise FoundingMismatch, naming field and both values, unless `given` fits `stored`."""
    given_zones = _zones(given)
    pairs = (
        ("cluster name", stored.cluster_name, given.cluster_name),
        ("node ids", _listed(stored.zones), _listed(given_zones)),
        ("zones", _zones_text(stored.zones), _zones_text(given_zones)),
        ("replication", stored.replication, given.replication),
        ("partition count", stored.partition_count, given.partition_count),
    )
    for field, stored_value, given_value in pairs:
        if given_value is not None and given_value != stored_value:
            raise FoundingMismatch(
                f"{field} differs: {directory} was founded with {stored_value}, this start gives "
                f"{given_value}. Only addresses may change: start with the stored value, or use "
                "an empty data directory on every node to found another cluster"
            )


def read_founding(directory: Path) -> FoundingConfig | None:
    """What a data directory was founded with; None without one. Raises DataDirectoryError."""
    path = directory / _FOUNDING_FILE
    if not path.exists():
        return None
    return _founding_from(cast("dict[str, object]", read_sealed(path)["founding"]))


class _PeerRecord(TypedDict):
    incarnation: str
    generation: int
    met: bool


class DataDirectory:
    """One node's durable identity, locked against other processes until `close`.

    Everything a method reports as recorded has been synced.
    """

    founding: FoundingConfig
    node_id: int
    incarnation: str
    """128 random bits in hex, drawn when the directory was created."""
    generation: int
    """0, or when the directory was created to repair a lost disk, in unix milliseconds: the higher
    one takes the place of the other."""
    repairing: frozenset[int]
    """Partitions in which this node, after the loss of its disk, does not vote or acknowledge."""

    def __init__(
        self,
        path: Path,
        node_id: int,
        parameters: FoundingParameters,
        *,
        repair_ms: int | None = None,
        fsync: Fsync = os.fsync,
    ) -> None:
        """Open or create the directory; with `repair_ms`, the time of now, to replace a lost one.

        Raises DataDirectoryError, FoundingMismatch, or PlacementError.
        """
        self.path = path
        self.node_id = node_id
        self._fsync = fsync
        if node_id not in _zones(parameters):
            raise FoundingMismatch(
                f"node id {node_id} is not one of the cluster's node ids "
                f"{_listed(_zones(parameters))}: give the node the id it has in the member list"
            )
        _create_directory(path, fsync)
        self._lock_fd = _lock(path)
        try:
            if (path / _FOUNDING_FILE).exists():
                self._load(parameters)
                if repair_ms is not None and not self.repairing:
                    raise DataDirectoryError(
                        f"{path} has data: --repair is for a node whose data is lost. Start it"
                        " without --repair, or move the directory away if it is beyond use"
                    )
            else:
                self._create(parameters, repair_ms)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process have the directory."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remember_peer(self, node_id: int, incarnation: str, generation: int = 0) -> None:
        """Record the incarnation of a node; synced when this returns.

        The first one counts, until one comes that an operator has made to repair it. Raises
        IncarnationMismatch for another one, DataDirectoryError when the record cannot be stored.
        """
        known = self._peers.get(str(node_id))
        if known is None or generation > known["generation"]:
            # Whom the lost one has accepted stays accepted: `may_vote` stays true.
            met = known is not None and known["met"]
            record: _PeerRecord = {
                "incarnation": incarnation,
                "generation": generation,
                "met": met,
            }
            self._store_peer(node_id, record)
        elif known["incarnation"] != incarnation:
            raise IncarnationMismatch(
                f"node {node_id} came back with an empty or different data directory (known "
                f"incarnation {known['incarnation'][:8]}, now {incarnation[:8]}); it can't rejoin "
                "as the old node, because it has lost what it voted for and acknowledged. Start "
                "it with its former data directory. If that is lost for good, start it on an empty "
                "one with `flo node --repair`: it then learns from the others before it counts "
                "again"
            )

    def finish_repair(self, partition: int) -> None:
        """This node counts in a partition again; synced when this returns."""
        remaining = self.repairing - {partition}
        self._write(_REPAIR_FILE, {"partitions": sorted(remaining)})
        self.repairing = remaining

    def record_met(self, node_id: int) -> None:
        """Record that a remembered peer has accepted our incarnation; synced when this returns."""
        known = self._peers[str(node_id)]
        if not known["met"]:
            self._store_peer(node_id, {**known, "met": True})

    def may_vote(self, replicas: Sequence[int]) -> bool:
        """Whether this node may vote and acknowledge in a partition with these replicas.

        A node whose directory was emptied looks like a new one to a peer that never met it. Had
        it acknowledged an entry before, a majority did, and each node of that majority knows its
        old incarnation. So it has to be accepted by so many replicas that one of them would know.
        Once true it stays true.
        """
        others = [node_id for node_id in replicas if node_id != self.node_id]
        met = sum(
            str(node_id) in self._peers and self._peers[str(node_id)]["met"] for node_id in others
        )
        majority = len(replicas) // 2 + 1
        return not others or met >= len(replicas) - majority + 1

    def _create(self, parameters: FoundingParameters, repair_ms: int | None) -> None:
        foreign = sorted({entry.name for entry in self.path.iterdir()} - _HARMLESS)
        if foreign:
            raise DataDirectoryError(
                f"{self.path} has no {_FOUNDING_FILE} but holds {', '.join(foreign[:3])}: it is no "
                "data directory, or a damaged one. Use an empty directory, or restore the file"
            )
        self.founding = found_cluster(parameters)
        self.incarnation = secrets.token_hex(16)
        self._peers: dict[str, _PeerRecord] = {}
        self.generation = repair_ms or 0
        self.repairing = frozenset() if repair_ms is None else self._to_repair()
        self._write(_PEERS_FILE, self._peers)
        if repair_ms is not None:
            self._write(_REPAIR_FILE, {"partitions": sorted(self.repairing)})
        content = {
            "node_id": self.node_id,
            "incarnation": self.incarnation,
            "generation": self.generation,
            # As JSON has them: text keys, which also sort differently from numbers.
            "founding": {**asdict(self.founding), "zones": _text_keys(self.founding.zones)},
        }
        self._write(_FOUNDING_FILE, content)

    def _to_repair(self) -> frozenset[int]:
        replicas = self.founding.replicas
        own = frozenset(n for n, ids in enumerate(replicas) if self.node_id in ids)
        alone = sorted(n for n in own if len(replicas[n]) == 1)
        if alone:
            raise DataDirectoryError(
                f"node {self.node_id} cannot be repaired: nobody else has a replica of its"
                f" partitions {', '.join(map(str, alone[:8]))}, so their data is lost. Found the"
                " cluster anew on empty data directories, without --repair"
            )
        return own

    def _load(self, parameters: FoundingParameters) -> None:
        # A process may have died between a rename and its sync: what is found is believed, and
        # told to others, only once a power cut cannot take it back.
        try:
            sync_directory(self.path, self._fsync)
        except OSError as error:
            raise DataDirectoryError(f"cannot sync {self.path}: {error.strerror}") from error
        content = read_sealed(self.path / _FOUNDING_FILE)
        stored_id = cast("int", content["node_id"])
        if stored_id != self.node_id:
            raise FoundingMismatch(
                f"node id differs: {self.path} belongs to node {stored_id}, this start is node "
                f"{self.node_id}. Give each node its own data directory"
            )
        self.incarnation = cast("str", content["incarnation"])
        self.founding = _founding_from(cast("dict[str, object]", content["founding"]))
        check_founding(self.founding, parameters, self.path)
        self.generation = cast("int", content["generation"])
        self._peers = cast("dict[str, _PeerRecord]", read_sealed(self.path / _PEERS_FILE))
        self.repairing = frozenset()
        if self.generation:
            content = read_sealed(self.path / _REPAIR_FILE)
            self.repairing = frozenset(cast("list[int]", content["partitions"]))

    def _store_peer(self, node_id: int, record: _PeerRecord) -> None:
        peers = {**self._peers, str(node_id): record}
        self._write(_PEERS_FILE, peers)
        # Only now: a record that could not be stored must not be relied upon.
        self._peers = peers

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        write_sealed(self.path / name, content, self._fsync)


def _zones(parameters: FoundingParameters) -> dict[int, str]:
    return {member.node_id: member.zone for member in parameters.members}


def _text_keys(zones: Mapping[int, str]) -> dict[str, str]:
    return {str(node_id): zone for node_id, zone in zones.items()}


def _listed(node_ids: Mapping[int, str]) -> str:
    return ", ".join(str(node_id) for node_id in sorted(node_ids))


def _zones_text(zones: Mapping[int, str]) -> str:
    return ", ".join(f"{node_id}@{zone or '(none)'}" for node_id, zone in sorted(zones.items()))


def _founding_from(content: Mapping[str, object]) -> FoundingConfig:
    zones = cast("dict[str, str]", content["zones"])
    replicas = cast("list[list[int]]", content["replicas"])
    return FoundingConfig(
        cluster_id=cast("str", content["cluster_id"]),
        cluster_name=cast("str", content["cluster_name"]),
        zones={int(node_id): zone for node_id, zone in zones.items()},
        replication=cast("int", content["replication"]),
        partition_count=cast("int", content["partition_count"]),
        replicas=tuple(tuple(node_ids) for node_ids in replicas),
    )


def _create_directory(path: Path, fsync: Fsync) -> None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            # Without this a crash could take the new directory, and all that is synced in it.
            sync_directory(folder.parent, fsync)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise DataDirectoryError(
            f"cannot create the data directory {path}: {error.strerror}. Choose a directory that "
            "this user may write"
        ) from error


def _lock(path: Path) -> int:
    try:
        fd = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot write to the data directory {path}: {error.strerror}. Choose a directory "
            "that this user may write"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise DataDirectoryError(
            f"the data directory {path} is in use by another process: stop that node first, or "
            "give this one its own directory"
        ) from error
    return fd
