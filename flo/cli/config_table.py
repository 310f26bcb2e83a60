"""Every setting: one row says where it stands in `flo.toml`, in the environment and among flags.

The rows import nothing of the server, so that client commands start fast. A test compares them with
`cluster.config` and with docs/configuration.md.
"""

from enum import Enum
from typing import NamedTuple, TypeAlias

from flo._caller import TIMEOUT_MS_MAX

Value: TypeAlias = str | int | float

CONFIG_FLAG, CONFIG_ENVIRONMENT = "--config", "FLO_CONFIG"
"""What names the file: no settings of their own."""
PARTITIONS_MAX = 1024
COUNT_MAX = 1 << 53
"""No limit is larger; whole numbers up to here are exact also as text with a unit."""


class Kind(Enum):
    """What a value is, in words for whoever typed another."""

    TEXT = "text in quotes"
    LIST = "text in quotes, or an array of such texts"
    WHOLE = "a whole number"
    BYTES = 'a whole number of bytes, or text with a unit such as "64 MiB"'
    MILLISECONDS = 'a number of milliseconds, or text with a unit such as "5s"'
    SECONDS = 'a number of seconds, or text with a unit such as "500ms"'


class Setting(NamedTuple):
    """One row."""

    table: str
    name: str
    kind: Kind
    default: Value | None
    help: str
    unset: str = ""
    """What None means, in words."""
    flag: str = ""
    metavar: str = ""
    least: float = 1
    most: float = COUNT_MAX
    choices: tuple[str, ...] = ()
    variable: str = ""
    """The name in the environment, where it does not follow from the name of the setting."""
    parameter: str = ""
    """The name in `cluster.config`, where it is another."""

    @property
    def place(self) -> str:
        """Where it stands in the file: `table.name`."""
        return f"{self.table}.{self.name}"

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        table = "" if self.table in ("node", "client") else f"{self.table.upper()}_"
        return self.variable or f"FLO_{table}{self.name.upper()}"

    @property
    def field(self) -> str:
        """Its name in `cluster.config`."""
        return self.parameter or self.name


_NODE = (
    Setting(
        "node",
        "id",
        Kind.WHOLE,
        None,
        "Id of this node.",
        unset="1 if alone",
        flag="--id",
        metavar="N",
        most=65_535,
        variable="FLO_NODE_ID",
        parameter="node_id",
    ),
    Setting(
        "node",
        "listen",
        Kind.TEXT,
        "127.0.0.1:9000",
        "Where clients connect.",
        flag="--listen",
        metavar="H:P",
    ),
    Setting(
        "node",
        "advertise",
        Kind.TEXT,
        None,
        "How clients reach this node.",
        unset="as listen",
        flag="--advertise",
        metavar="H:P",
    ),
    Setting(
        "node",
        "peer_listen",
        Kind.TEXT,
        None,
        "Where other nodes connect.",
        unset="as cluster says, else port + 500",
        flag="--peer-listen",
        metavar="H:P",
    ),
    Setting(
        "node",
        "data_dir",
        Kind.TEXT,
        "flo-data",
        "Where its data is kept.",
        flag="--data-dir",
        metavar="DIR",
    ),
    Setting(
        "node",
        "cluster",
        Kind.LIST,
        None,
        "Peer addresses of all nodes, as 1=H:P@ZONE,2=H:P.",
        unset="this node alone",
        flag="--cluster",
        metavar="NODES",
        parameter="members",
    ),
    Setting(
        "node",
        "partitions",
        Kind.WHOLE,
        8,
        "Partitions; fixed when founded.",
        flag="--partitions",
        metavar="N",
        most=PARTITIONS_MAX,
        parameter="partition_count",
    ),
    Setting(
        "node",
        "replication",
        Kind.WHOLE,
        None,
        "Replicas of each; fixed too.",
        unset="3, or all",
        flag="--replication",
        metavar="N",
        most=65_535,
    ),
    Setting(
        "node",
        "secret_file",
        Kind.TEXT,
        None,
        "File with the secret.",
        unset="local peers only",
        flag="--secret-file",
        metavar="FILE",
    ),
    Setting(
        "node",
        "request_timeout_ms",
        Kind.MILLISECONDS,
        4_500,
        "How long a request is tried when its client names no deadline.",
        most=TIMEOUT_MS_MAX,
    ),
)


def _limit(name: str, kind: Kind, default: float, text: str) -> Setting:
    least = 0.001 if kind is Kind.SECONDS else 1
    most = 86_400 if kind is Kind.SECONDS else COUNT_MAX
    return Setting("limits", name, kind, default, text, least=least, most=most)


_KIB, _MIB = 1 << 10, 1 << 20

_LIMITS = (
    _limit("value_bytes_max", Kind.BYTES, 1 * _MIB, "The longest value of a key."),
    _limit(
        "batch_bytes_max",
        Kind.BYTES,
        1 * _MIB,
        "Commands of one log entry; a larger single command travels alone.",
    ),
    _limit("batch_commands_max", Kind.WHOLE, 1_024, "Commands of one log entry."),
    _limit(
        "partition_wait_s",
        Kind.SECONDS,
        1.0,
        "What would wait longer in a partition, by its present pace, is refused.",
    ),
    _limit(
        "partition_commands_max",
        Kind.WHOLE,
        65_536,
        "Commands, and apart from them reads, that wait in one partition.",
    ),
    _limit(
        "partition_bytes_max",
        Kind.BYTES,
        64 * _MIB,
        "What commands that wait in one partition carry.",
    ),
    _limit(
        "partition_waiting_max",
        Kind.WHOLE,
        10_000,
        "Calls that wait in one partition for something to come, as a blocking dequeue does.",
    ),
    _limit(
        "connection_requests_max",
        Kind.WHOLE,
        4_096,
        "Unanswered requests of one connection; then it is not read until some are answered.",
    ),
    _limit(
        "connection_unsent_bytes_max",
        Kind.BYTES,
        64 * _MIB,
        "Answers that a client has not read; past this its reads are refused.",
    ),
    _limit(
        "connection_stall_s",
        Kind.SECONDS,
        30.0,
        "How long a client may read nothing while answers wait; then it is cut off.",
    ),
    _limit(
        "connection_close_s",
        Kind.SECONDS,
        2.0,
        "How long a node that stops waits for its clients to take their last answers.",
    ),
    _limit("connections_max", Kind.WHOLE, 10_000, "Client connections of this node."),
    _limit(
        "requests_bytes_max",
        Kind.BYTES,
        64 * _MIB,
        "Requests of all clients that came in part, or wait to be run; then they take turns.",
    ),
    _limit(
        "answers_bytes_max",
        Kind.BYTES,
        128 * _MIB,
        "Answers of all clients that wait to be read; past this reads are refused.",
    ),
    _limit(
        "calls_bytes_max",
        Kind.BYTES,
        128 * _MIB,
        "What the unanswered writes of this node carry; and apart, those of its partitions.",
    ),
    _limit("calls_max", Kind.WHOLE, 50_000, "Unanswered calls of this node."),
    _limit(
        "waiting_max",
        Kind.WHOLE,
        25_000,
        "Those of them that wait for something to come; keep it well below `calls_max`.",
    ),
    _limit(
        "peer_calls_max",
        Kind.WHOLE,
        4_096,
        "Calls on their way to one other node, without those that wait there.",
    ),
    _limit(
        "apply_bytes_per_turn",
        Kind.BYTES,
        256 * _KIB,
        "What one partition applies before the next has its turn.",
    ),
    _limit(
        "log_bytes_max",
        Kind.BYTES,
        256 * _MIB,
        "The log is compacted past this, or past half of what the states take if that is more.",
    ),
    _limit("scan_page_bytes_max", Kind.BYTES, 200_000, "One page of a scan."),
    _limit("answer_bytes_max", Kind.BYTES, 8 * _MIB, "Values of one answer."),
)

_WAL = (
    Setting(
        "wal",
        "segment_bytes",
        Kind.BYTES,
        32 * _MIB,
        "Size of a new segment of the log. Larger: fewer switches, but more to read at a start.",
        least=8 * _MIB,
        most=1 << 30,
    ),
    Setting(
        "wal",
        "tail_bytes",
        Kind.BYTES,
        4 * _MIB,
        "Memory for the newest entries of each partition; older ones are read back from disk.",
        least=0,
    ),
    Setting(
        "wal",
        "warn_bytes",
        Kind.BYTES,
        10 << 30,
        "When the log grows past this, a warning is logged, once.",
    ),
)

_CLIENT = (
    Setting(
        "client",
        "host",
        Kind.LIST,
        "localhost:9000",
        "Node to connect to, or several.",
        flag="--host",
        metavar="HOST:PORT",
    ),
    Setting(
        "client",
        "namespace",
        Kind.TEXT,
        "default",
        "Namespace of the keys.",
        flag="--namespace",
        metavar="NAME",
    ),
    Setting(
        "client",
        "timeout_ms",
        Kind.MILLISECONDS,
        5_000,
        "Time for each request.",
        flag="--timeout",
        metavar="MS",
        most=TIMEOUT_MS_MAX,
    ),
    Setting(
        "client",
        "format",
        Kind.TEXT,
        "text",
        "How results and errors are printed.",
        flag="--format",
        metavar="text|json",
        choices=("text", "json"),
    ),
)

SETTINGS = (*_NODE, *_LIMITS, *_WAL, *_CLIENT)
TABLES = ("node", "limits", "wal", "client")
