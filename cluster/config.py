"""The configuration of a node: typed, validated at start, passed on explicitly."""

from dataclasses import dataclass, field
from pathlib import Path

from cluster.addresses import Address, Member
from cluster.peers.frames import DEFAULT_FRAME_BYTES_MAX
from cluster.storage.wal_config import WalConfig

PARTITIONS_MAX = 1024
"""As many groups as a write-ahead log holds; their maps share the address space."""


class ConfigError(ValueError):
    """A setting, or the relation of two, that cannot work; the message names both."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of everything that could grow. Past a bound a request is refused as not run."""

    value_bytes_max: int = 1 << 20
    batch_bytes_max: int = 1 << 20
    """Commands of one log entry; a larger single command travels alone."""
    batch_commands_max: int = 1024
    partition_commands_max: int = 65_536
    """Commands that wait in one partition, proposed or not."""
    partition_bytes_max: int = 64 << 20
    connection_requests_max: int = 4_096
    """Unanswered requests of one client connection; then it is not read until some are."""
    connection_unsent_bytes_max: int = 64 << 20
    """Answers a client does not read; past this, or after the stall time, it is cut off."""
    connection_stall_s: float = 30.0
    connection_close_s: float = 2.0
    """How long a node that stops waits for its clients to take their last answers."""
    connections_max: int = 10_000
    calls_bytes_max: int = 256 << 20
    """What the unanswered writes of one node carry."""
    calls_max: int = 200_000
    """Unanswered calls of one node."""
    apply_bytes_per_turn: int = 4 << 20
    scan_page_bytes_max: int = 200_000
    answer_bytes_max: int = 8 << 20
    """Values of one answer; it travels in one frame when another node leads the partition."""

    def __post_init__(self) -> None:
        if self.batch_bytes_max > self.partition_bytes_max:
            raise ConfigError(
                f"batch_bytes_max ({self.batch_bytes_max}) must not exceed"
                f" partition_bytes_max ({self.partition_bytes_max})"
            )
        entry, frame = WalConfig().entry_bytes_max // 2, DEFAULT_FRAME_BYTES_MAX // 2
        for name, value, most, holder in (
            ("value_bytes_max", self.value_bytes_max, entry, "an entry of the log"),
            ("batch_bytes_max", self.batch_bytes_max, entry, "an entry of the log"),
            ("answer_bytes_max", self.answer_bytes_max, frame, "a frame between nodes"),
            ("scan_page_bytes_max", self.scan_page_bytes_max, frame, "a frame between nodes"),
        ):
            if value > most:
                raise ConfigError(
                    f"{name} ({value}) must not exceed {most}, half of what {holder} holds"
                )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node. `members` are the founding nodes with their peer addresses, this one included."""

    node_id: int
    listen: Address
    peer_listen: Address
    data_dir: Path
    members: tuple[Member, ...]
    partition_count: int = 8
    replication: int = 3
    secret: bytes | None = None
    advertise: Address | None = None
    """Where clients reach this node; by default where it listens, or, when that is every
    interface, the host of its own peer address."""
    request_timeout_ms: int = 5_000
    """How long a request of a client that names no deadline is tried."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        ids = [member.node_id for member in self.members]
        if self.node_id not in ids:
            raise ConfigError(
                f"node id {self.node_id} is not among the cluster's nodes {sorted(ids)}:"
                " add it to --cluster or correct --id"
            )
        if not 1 <= self.partition_count <= PARTITIONS_MAX:
            raise ConfigError(
                f"partitions must be 1 to {PARTITIONS_MAX}, not {self.partition_count}"
            )
        if not 1 <= self.replication <= len(self.members):
            raise ConfigError(
                f"replication {self.replication} needs as many nodes; the cluster has"
                f" {len(self.members)}"
            )

    @property
    def client_address(self) -> Address:
        """What this node tells clients about itself."""
        if self.advertise is not None:
            return self.advertise
        if self.listen.host not in _EVERY_INTERFACE:
            return self.listen
        own = next(member for member in self.members if member.node_id == self.node_id)
        return Address(own.address.host, self.listen.port)


_EVERY_INTERFACE = ("", "0.0.0.0", "::", "*")
