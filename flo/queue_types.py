"""What queue operations are given and give back."""

from dataclasses import dataclass, field
from enum import IntEnum


class Delivery(IntEnum):
    """How a queue gives its messages away."""

    LEASE = 0
    """A message is leased, and comes back unless it is acknowledged in time: at least once."""
    CONSUME = 1
    """A message is gone when it is dequeued: at most once."""


@dataclass
class EnqueueOptions:
    """How a message is stored.

    priority: 0 to 255, the lower the sooner.
    delay_ms: for so long nobody gets it.
    dedup_key: an earlier message with this key, of the last five minutes, is taken for this one.
    """

    namespace: str | None = None
    priority: int = 0
    delay_ms: int = 0
    dedup_key: str | bytes | None = None


@dataclass
class DequeueOptions:
    """How messages are taken.

    block_ms: how long to wait for a first message, at most 300,000; None or 0 does not wait.
    visibility_ms: how long they are leased to the caller; None is the queue's setting, 30 s unless
        it was changed.
    """

    namespace: str | None = None
    block_ms: int | None = None
    visibility_ms: int | None = None


@dataclass
class AckOptions:
    """Where the queue is."""

    namespace: str | None = None


@dataclass
class NackOptions:
    """What becomes of messages that could not be handled: another try, or the dead letters."""

    namespace: str | None = None
    to_dlq: bool = False


@dataclass
class QueueTouchOptions:
    """How much longer messages stay leased, from now; None is the queue's setting."""

    namespace: str | None = None
    extend_ms: int | None = None


@dataclass
class PeekOptions:
    """Where the queue is."""

    namespace: str | None = None


@dataclass
class DlqListOptions:
    """How many dead letters to list, 1 to 1,000."""

    namespace: str | None = None
    limit: int = 100


@dataclass
class DlqRequeueOptions:
    """Where the queue is."""

    namespace: str | None = None


@dataclass
class QueueConfigureOptions:
    """Settings of a queue; None leaves one as it is.

    delivery: leases (the default), or each message at most once.
    visibility_ms: how long a dequeued message is leased.
    max_attempts: after so many deliveries without an acknowledgement it is a dead letter.
    """

    namespace: str | None = None
    delivery: Delivery | None = None
    visibility_ms: int | None = None
    max_attempts: int | None = None


@dataclass
class QueueListOptions:
    """Which queues to list: names that begin with `prefix`, at most `limit`, from `cursor` on."""

    namespace: str | None = None
    prefix: str = ""
    limit: int = 100
    cursor: bytes | None = None


@dataclass
class QueueItem:
    """One message of a batch; see `EnqueueOptions`."""

    payload: bytes | bytearray | memoryview
    priority: int = 0
    delay_ms: int = 0
    dedup_key: str | bytes | None = None


@dataclass
class Message:
    """One message of a queue. `delivery_count` counts this delivery."""

    seq: int
    payload: bytes
    enqueued_at_ms: int = 0
    delivery_count: int = 0
    priority: int = 0


@dataclass
class DequeueResult:
    """Messages, none when there were none."""

    messages: list[Message] = field(default_factory=list[Message])


@dataclass
class QueueInfo:
    """How many messages of a queue are in which state."""

    name: str
    ready: int
    delayed: int
    leased: int
    dead: int
    delivery: Delivery


@dataclass
class QueueListResult:
    """Queues in the order of their names. `cursor` continues; None on the last page."""

    queues: list[QueueInfo]
    cursor: bytes | None

    @property
    def has_more(self) -> bool:
        """Whether there are further queues."""
        return self.cursor is not None
