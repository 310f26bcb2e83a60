"""The configuration of a node: typed, validated at start, passed on explicitly."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from cluster.addresses import (
    NODE_ID_MAX,
    Address,
    AddressError,
    Member,
    parse_address,
    parse_members,
)
from cluster.peers.frames import DEFAULT_FRAME_BYTES_MAX
from cluster.storage.wal_config import WalConfig

PARTITIONS_MAX = 1024
"""As many groups as a write-ahead log holds; their maps share the address space."""


PEER_PORT_DISTANCE = 500
_REPLICATION = 3


class ConfigError(ValueError):
    """A setting, or the relation of two, that cannot work; the message names both.

    settings: their names, as in NodeConfig and Limits.
    """

    def __init__(self, problem: str, *settings: str) -> None:
        super().__init__(problem)
        self.settings = settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of everything that could grow. Past a bound a request is refused as not run."""

    value_bytes_max: int = 1 << 20
    batch_bytes_max: int = 1 << 20
    """Commands of one log entry; a larger single command travels alone."""
    batch_commands_max: int = 1024
    partition_wait_s: float = 1.0
    """By the present pace of a partition; what would wait for longer is refused."""
    partition_commands_max: int = 65_536
    """Commands that wait in one partition, proposed or not, whatever its pace."""
    partition_bytes_max: int = 64 << 20
    partition_waiting_max: int = 10_000
    """Calls that wait in one partition for something to come."""
    connection_requests_max: int = 4_096
    """Unanswered requests of one client connection; then it is not read until some are."""
    connection_unsent_bytes_max: int = 64 << 20
    """Answers a client has not read; past this its reads are refused, and if it takes nothing for
    the stall time it is cut off."""
    connection_stall_s: float = 30.0
    connection_close_s: float = 2.0
    """How long a node that stops waits for its clients to take their last answers."""
    connections_max: int = 10_000
    requests_bytes_max: int = 64 << 20
    """Requests of all clients that came in part, or wait to be run; past this large ones are read
    one after the other."""
    answers_bytes_max: int = 128 << 20
    """Answers of all clients that wait to be read; past this reads are refused."""
    calls_bytes_max: int = 128 << 20
    """What the unanswered writes of one node carry; apart from it, what waits in the partitions
    that it leads."""
    calls_max: int = 50_000
    """Unanswered calls of one node."""
    waiting_max: int = 25_000
    """Those of them that wait for something to come; others must have room beside them."""
    peer_calls_max: int = 4_096
    """Calls on their way to one other node, without those that wait there."""
    apply_bytes_per_turn: int = 256 << 10
    scan_page_bytes_max: int = 200_000
    log_bytes_max: int = 256 << 20
    """The log is compacted past this, or past half of what the states take when that is more."""
    answer_bytes_max: int = 8 << 20
    """Values of one answer; it travels in one frame when another node leads the partition."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ConfigError(
                    f"{each.name} must be above 0, not {getattr(self, each.name)}", each.name
                )
        self.check_order("batch_bytes_max", "partition_bytes_max")
        entry, frame = WalConfig().entry_bytes_max // 2, DEFAULT_FRAME_BYTES_MAX // 2
        for name, value, most, holder in (
            ("value_bytes_max", self.value_bytes_max, entry, "an entry of the log"),
            ("batch_bytes_max", self.batch_bytes_max, entry, "an entry of the log"),
            ("answer_bytes_max", self.answer_bytes_max, frame, "a frame between nodes"),
            ("scan_page_bytes_max", self.scan_page_bytes_max, frame, "a frame between nodes"),
        ):
            if value > most:
                raise ConfigError(
                    f"{name} ({value}) must not exceed {most}, half of what {holder} holds", name
                )

    def check_order(self, lower: str, upper: str) -> None:
        """Raises ConfigError when the first limit is above the second."""
        low, high = getattr(self, lower), getattr(self, upper)
        if low > high:
            raise ConfigError(f"{lower} ({low}) must not exceed {upper} ({high})", lower, upper)


@dataclass(frozen=True, slots=True, init=False)
class NodeConfig:
    """One node. Fields hold parsed values; the constructor also takes what a person types.

    data_dir: where the node keeps its data; created if missing.
    node_id: one of those in `members`; 1 when the node is alone.
    listen: where clients connect, "host:port".
    peer_listen: where other nodes connect; by default the host of `listen` with the port that
        `members` names for this node, or the client port + 500 when it is alone.
    members: peer addresses of all founding nodes, this one included: "1=a:9500,2=b:9500@zone".
        Empty: this node alone.
    partition_count: fixed when the cluster is founded.
    replication: replicas of each partition; 3, or the number of nodes if less.
    secret: what all nodes of the cluster share; without it only local peers are accepted.
    advertise: where clients reach this node; by default where it listens, or, when that is
        every interface, the host of its own peer address.
    request_timeout_ms: how long a request of a client that names no deadline is tried. The
        official SDKs wait 5 s by default: a refusal must reach them before they hang up.
    repair: the node's data is lost, and `data_dir` is a new, empty directory: the node learns
        from the others before it votes or acknowledges.
    """

    data_dir: Path
    node_id: int
    listen: Address
    peer_listen: Address
    members: tuple[Member, ...]
    partition_count: int
    replication: int
    secret: bytes | None = field(repr=False)
    advertise: Address | None
    request_timeout_ms: int
    repair: bool
    limits: Limits
    wal: WalConfig

    def __init__(
        self,
        data_dir: Path | str,
        *,
        node_id: int | None = None,
        listen: Address | str = "127.0.0.1:9000",
        peer_listen: Address | str | None = None,
        members: tuple[Member, ...] | str = (),
        partition_count: int = 8,
        replication: int | None = None,
        secret: bytes | str | None = None,
        advertise: Address | str | None = None,
        request_timeout_ms: int = 4_500,
        repair: bool = False,
        limits: Limits | None = None,
        wal: WalConfig | None = None,
    ) -> None:
        """Raises ConfigError for what cannot work."""
        listen = _address("listen", listen)
        found = _members(members)
        own_id = _own_id(node_id, found)
        if peer_listen is None:
            peer = _peer_listen(listen, own_id, found)
        else:
            peer = _address("peer_listen", peer_listen)
        found = found or (Member(own_id, peer, ""),)
        values: dict[str, object] = {
            "data_dir": Path(data_dir),
            "node_id": own_id,
            "listen": listen,
            "peer_listen": peer,
            "members": found,
            "partition_count": partition_count,
            "replication": min(_REPLICATION, len(found)) if replication is None else replication,
            "secret": secret.encode() if isinstance(secret, str) else secret,
            "advertise": None if advertise is None else _address("advertise", advertise),
            "request_timeout_ms": request_timeout_ms,
            "repair": repair,
            "limits": limits or Limits(),
            "wal": wal or WalConfig(),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        self._check_founding()
        if self.listen == self.peer_listen and self.listen.port:
            raise ConfigError(
                f"listen and peer_listen are both {self.listen}: they need a port each",
                "listen",
                "peer_listen",
            )
        if self.advertise is not None and self.advertise.port == 0:
            raise ConfigError(
                f"advertise {self.advertise} has port 0: clients need the real port", "advertise"
            )
        if self.request_timeout_ms < 1:
            raise ConfigError(
                f"request_timeout_ms must be at least 1, not {self.request_timeout_ms}",
                "request_timeout_ms",
            )
        # Else the largest value, or answer, that is allowed could never pass.
        self.limits.check_order("value_bytes_max", "partition_bytes_max")
        self.limits.check_order("value_bytes_max", "calls_bytes_max")
        self.limits.check_order("answer_bytes_max", "connection_unsent_bytes_max")
        self.limits.check_order("answer_bytes_max", "answers_bytes_max")

    def _check_founding(self) -> None:
        ids = [member.node_id for member in self.members]
        if not 1 <= self.node_id <= NODE_ID_MAX:
            raise ConfigError(f"node id {self.node_id} must be 1 to {NODE_ID_MAX}", "node_id")
        if self.node_id not in ids:
            raise ConfigError(
                f"node id {self.node_id} is not among the cluster's nodes {sorted(ids)}:"
                " correct node_id (--id) or members (--cluster)",
                "node_id",
                "members",
            )
        if not 1 <= self.partition_count <= PARTITIONS_MAX:
            raise ConfigError(
                f"partitions must be 1 to {PARTITIONS_MAX}, not {self.partition_count}",
                "partition_count",
            )
        if not 1 <= self.replication <= len(self.members):
            raise ConfigError(
                f"replication {self.replication} needs as many nodes; the cluster has"
                f" {len(self.members)}: correct replication (--replication) or members (--cluster)",
                "replication",
                "members",
            )
        if self.limits.log_bytes_max < 2 * self.wal.segment_bytes:
            raise ConfigError(
                f"log_bytes_max ({self.limits.log_bytes_max}) must be at least twice"
                f" segment_bytes ({self.wal.segment_bytes}): the log is let go by segments",
                "log_bytes_max",
                "segment_bytes",
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


def _address(setting: str, given: Address | str) -> Address:
    if not isinstance(given, str):
        return given
    try:
        return parse_address(given)
    except AddressError as error:
        raise ConfigError(str(error), setting) from error


def _members(given: tuple[Member, ...] | str) -> tuple[Member, ...]:
    if not isinstance(given, str):
        return given
    try:
        return parse_members(given) if given else ()
    except AddressError as error:
        raise ConfigError(str(error), "members") from error


def _own_id(node_id: int | None, members: tuple[Member, ...]) -> int:
    if node_id is None and members:
        raise ConfigError(
            f"which of the nodes {sorted(each.node_id for each in members)} is this one?"
            " give its node_id (--id)",
            "members",
        )
    return 1 if node_id is None else node_id


def _peer_listen(listen: Address, node_id: int, members: tuple[Member, ...]) -> Address:
    """The port that the other nodes connect to, else one next to the client port."""
    for member in members:
        if member.node_id == node_id:
            return listen._replace(port=member.address.port)
    port = listen.port + PEER_PORT_DISTANCE
    if listen.port == 0 or port > 65_535:
        raise ConfigError(
            f"listen with port {listen.port} needs a peer_listen (--peer-listen)", "listen"
        )
    return listen._replace(port=port)
