"""The rows of queues: a record for each, and where its messages lie.

A message has a QUEUE_BODY row, which is never rewritten, and a row that says in which one of four
places it is:

    ready             QUEUE_READY   live id, priority, sequence -> deliveries, size
    delayed, leased   QUEUE_STATE   live id, sequence -> state, time, deliveries, priority, size
                      and a timer for that time
    dead              QUEUE_DEAD    id, number of the death -> sequence, deliveries, priority, size
                      and QUEUE_STATE id, sequence -> that number

QUEUE_DEDUP has `id, digest of the key -> sequence, until_ms`, with a timer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.queue_front import Front
from cluster.state.store import Table
from cluster.state.timers import discard_timer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction

QUEUE_KIND = b"q"
VISIBILITY_MS_DEFAULT = 30_000
MAX_ATTEMPTS_DEFAULT = 5

DELAYED = 1
LEASED = 2

MESSAGE_TIMER = 1
"""The kind of timer that a delayed or leased message has, by its live id and sequence."""
DEDUP_TIMER = 2
"""That of a deduplication key, by the key of its row."""

_QUEUE = Struct("<QQQQQQQQBIH")
_BODY = Struct("<QB")  # enqueued_at_ms, priority; the payload follows
_READY_KEY = Struct(">QBQ")
_READY = Struct("<II")
_PENDING = Struct("<BQIBI")
_DEAD = Struct("<QIBI")
_DEDUP = Struct("<QQ")
_NUMBER = Struct("<Q")
_PAIR = Struct(">QQ")
_pair = _PAIR.pack
_pack_id = Struct(">Q").pack
_DIGEST_BYTES = 16


@dataclass(slots=True)
class Queue:
    """The record of a queue: its counts and settings. Sequences count from 1.

    `queue_id` stays; `live_id`, under which those messages are found that are not dead, is a new
    one after a purge.
    """

    queue_id: int
    live_id: int
    last_sequence: int = 0
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    last_death: int = 0
    delivery: int = 0
    visibility_ms: int = VISIBILITY_MS_DEFAULT
    max_attempts: int = MAX_ATTEMPTS_DEFAULT
    front: Front = field(default_factory=Front, repr=False, compare=False)
    """Not of the record, but what follows from the rows."""

    def encode(self) -> bytes:
        return _QUEUE.pack(
            self.queue_id,
            self.live_id,
            self.last_sequence,
            self.ready,
            self.delayed,
            self.leased,
            self.dead,
            self.last_death,
            self.delivery,
            self.visibility_ms,
            self.max_attempts,
        )


def decode_queue(body: bytes) -> Queue:
    return Queue(*_QUEUE.unpack(body))


class Body(NamedTuple):
    """A message as it was enqueued."""

    enqueued_at_ms: int
    priority: int
    payload: bytes


class Ready(NamedTuple):
    """A message that can be taken. `size` is that of its payload."""

    key: bytes
    priority: int
    sequence: int
    deliveries: int
    size: int


class Pending(NamedTuple):
    """A message that becomes ready at `at_ms`: delayed or leased."""

    state: int
    at_ms: int
    deliveries: int
    priority: int
    size: int


class Dead(NamedTuple):
    """A dead letter; `death` says which one."""

    death: int
    sequence: int
    deliveries: int
    priority: int
    size: int


class Dedup(NamedTuple):
    """The message that a deduplication key stands for, and until when."""

    sequence: int
    until_ms: int


message_key = _pair
"""Of an id and a sequence or number, for all tables but QUEUE_READY and QUEUE_DEDUP."""
split_message_key = _PAIR.unpack
id_prefix = _pack_id
"""What all keys of an id begin with."""


def dedup_key(queue_id: int, key: bytes) -> bytes:
    return _pack_id(queue_id) + blake2b(key, digest_size=_DIGEST_BYTES).digest()


# --- bodies ---


def insert_body(txn: WriteTransaction, queue_id: int, sequence: int, body: Body) -> None:
    key = _pair(queue_id, sequence)
    head = _BODY.pack(body.enqueued_at_ms, body.priority)
    txn.insert(Table.QUEUE_BODY, key, seal(key, head + body.payload))


def find_body(txn: ReadTransaction, queue_id: int, sequence: int) -> Body | None:
    key = _pair(queue_id, sequence)
    row = txn.get(Table.QUEUE_BODY, key)
    if row is None:
        return None
    stored = unseal(Table.QUEUE_BODY, key, row)
    enqueued_at_ms, priority = _BODY.unpack_from(stored)
    return Body(enqueued_at_ms, priority, stored[_BODY.size :])


def get_body(txn: ReadTransaction, queue_id: int, sequence: int) -> Body:
    """The body of a message that is there. Raises `CorruptState`."""
    body = find_body(txn, queue_id, sequence)
    if body is None:
        key = _pair(queue_id, sequence)
        raise corrupt(Table.QUEUE_BODY, key, "a message without its body")
    return body


def delete_body(txn: WriteTransaction, queue_id: int, sequence: int) -> None:
    _delete(txn, Table.QUEUE_BODY, _pair(queue_id, sequence))


# --- ready ---


def insert_ready(txn: WriteTransaction, live_id: int, sequence: int, message: Pending) -> bytes:
    """Makes a message ready, under the key that is returned; of `message` the state and the time
    do not matter."""
    _, _, deliveries, priority, size = message
    key = _READY_KEY.pack(live_id, priority, sequence)
    txn.insert(Table.QUEUE_READY, key, seal(key, _READY.pack(deliveries, size)))
    return key


def scan_ready(txn: ReadTransaction, live_id: int) -> Iterator[Ready]:
    """In the order of delivery."""
    prefix = _pack_id(live_id)
    for key, row in txn.scan(Table.QUEUE_READY, prefix):
        if not key.startswith(prefix):
            return
        _, priority, sequence = _READY_KEY.unpack(key)
        deliveries, size = _READY.unpack(unseal(Table.QUEUE_READY, key, row))
        yield Ready(key, priority, sequence, deliveries, size)


def delete_ready(txn: WriteTransaction, ready: Ready) -> None:
    _delete(txn, Table.QUEUE_READY, ready.key)


# --- delayed and leased ---


def insert_pending(txn: WriteTransaction, live_id: int, sequence: int, pending: Pending) -> None:
    key = _pair(live_id, sequence)
    txn.insert(Table.QUEUE_STATE, key, seal(key, _PENDING.pack(*pending)))


def get_pending(txn: ReadTransaction, live_id: int, sequence: int) -> Pending | None:
    key = _pair(live_id, sequence)
    row = txn.get(Table.QUEUE_STATE, key)
    return None if row is None else decode_pending(key, row)


def decode_pending(key: bytes, row: bytes) -> Pending:
    return Pending(*_PENDING.unpack(unseal(Table.QUEUE_STATE, key, row)))


def drop_pending_timer(txn: WriteTransaction, key: bytes, row: bytes) -> None:
    """A purged message goes, and with it its timer, unless that has run since."""
    discard_timer(txn, decode_pending(key, row).at_ms, MESSAGE_TIMER, key)


def delete_pending(txn: WriteTransaction, live_id: int, sequence: int) -> None:
    _delete(txn, Table.QUEUE_STATE, _pair(live_id, sequence))


# --- dead ---


def put_dead(txn: WriteTransaction, queue_id: int, dead: Dead) -> None:
    key = _pair(queue_id, dead.death)
    txn.put(Table.QUEUE_DEAD, key, seal(key, _DEAD.pack(*dead[1:])))
    key = _pair(queue_id, dead.sequence)
    txn.put(Table.QUEUE_STATE, key, seal(key, _NUMBER.pack(dead.death)))


def find_dead(txn: ReadTransaction, queue_id: int, sequence: int) -> Dead | None:
    key = _pair(queue_id, sequence)
    row = txn.get(Table.QUEUE_STATE, key)
    if row is None:
        return None
    death = _NUMBER.unpack(unseal(Table.QUEUE_STATE, key, row))[0]
    key = _pair(queue_id, death)
    row = txn.get(Table.QUEUE_DEAD, key)
    if row is None:
        raise corrupt(Table.QUEUE_DEAD, key, f"the dead letter {sequence} is missing")
    return Dead(death, *_DEAD.unpack(unseal(Table.QUEUE_DEAD, key, row)))


def scan_dead(txn: ReadTransaction, queue_id: int) -> Iterator[Dead]:
    """The oldest first."""
    prefix = _pack_id(queue_id)
    for key, row in txn.scan(Table.QUEUE_DEAD, prefix):
        if not key.startswith(prefix):
            return
        death = int.from_bytes(key[len(prefix) :], "big")
        yield Dead(death, *_DEAD.unpack(unseal(Table.QUEUE_DEAD, key, row)))


def delete_dead(txn: WriteTransaction, queue_id: int, dead: Dead) -> None:
    _delete(txn, Table.QUEUE_DEAD, _pair(queue_id, dead.death))
    _delete(txn, Table.QUEUE_STATE, _pair(queue_id, dead.sequence))


# --- deduplication ---


def put_dedup(txn: WriteTransaction, key: bytes, dedup: Dedup) -> None:
    txn.put(Table.QUEUE_DEDUP, key, seal(key, _DEDUP.pack(*dedup)))


def get_dedup(txn: ReadTransaction, key: bytes) -> Dedup | None:
    row = txn.get(Table.QUEUE_DEDUP, key)
    return None if row is None else Dedup(*_DEDUP.unpack(unseal(Table.QUEUE_DEDUP, key, row)))


def delete_dedup(txn: WriteTransaction, key: bytes) -> None:
    _delete(txn, Table.QUEUE_DEDUP, key)


def _delete(txn: WriteTransaction, table: Table, key: bytes) -> None:
    if not txn.delete(table, key):
        raise corrupt(table, key, "a row that should be there is missing")
