"""Random commands of few queues with few messages, so that they meet each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from cluster.state.queue import DEDUP_MS
from flo.wire.queue_messages import DELIVERY_CONSUME, DELIVERY_LEASE
from tests.unit.state import queue_bench as commands
from tests.unit.state.helpers import Triple, open_session, within

if TYPE_CHECKING:
    from cluster.state.commands import Command
    from cluster.state.queue_commands import BatchItem

LEASE_MS = 30_000
QUEUES = [b"q", b"q" * 600]

# Made from lengths to keep failures readable; the second name takes two pieces of a key.
queues = st.sampled_from([1, 1, 1, 600]).map(lambda length: b"q" * length)
payloads = st.sampled_from([0, 7, 100]).map(lambda length: b"p" * length)
priorities = st.sampled_from([0, 0, 1, 255])
delays_ms = st.sampled_from([0, 0, 0, 1, 20, LEASE_MS])
dedup_keys = st.none() | st.sampled_from([b"k", b"n"])
sequences = st.lists(st.integers(1, 9), min_size=1, max_size=6)
queue_steps_ms = st.sampled_from([0, 0, 1, 20, LEASE_MS - 1, LEASE_MS, DEDUP_MS])
"""How far the stamp of the next entry is from the start of the one before it."""


def _batch(items: list[BatchItem], queue: bytes) -> Command:
    return commands.batch(*items, queue=queue)


def _ack(many: list[int], queue: bytes) -> Command:
    return commands.ack(*many, queue=queue)


def _nack(many: list[int], queue: bytes, to_dead_letter: bool) -> Command:
    return commands.nack(*many, to_dead_letter=to_dead_letter, queue=queue)


def _touch(many: list[int], queue: bytes, extend_ms: int | None) -> Command:
    return commands.touch(*many, extend_ms=extend_ms, queue=queue)


def _requeue(many: list[int], queue: bytes) -> Command:
    return commands.requeue(*many, queue=queue)


_items = st.tuples(payloads, priorities, delays_ms, dedup_keys)
_enqueues = st.builds(
    commands.enqueue,
    payloads,
    priority=priorities,
    delay_ms=delays_ms,
    dedup=dedup_keys,
    queue=queues,
)
_dequeues = st.builds(
    commands.dequeue,
    st.integers(1, 4),
    visibility_ms=st.sampled_from([None, None, 1, 20]),
    max_bytes=st.sampled_from([120, commands.MANY_BYTES, commands.MANY_BYTES]),
    queue=queues,
)
plain_queue_commands: st.SearchStrategy[Command] = st.one_of(
    _enqueues,
    _enqueues,
    _dequeues,
    _dequeues,
    _dequeues,
    st.builds(_batch, st.lists(_items, min_size=1, max_size=4), queues),
    st.builds(_ack, sequences, queues),
    st.builds(_nack, sequences, queues, st.booleans()),
    st.builds(_touch, sequences, queues, st.sampled_from([None, 1, 20])),
    st.builds(_requeue, sequences, queues),
    st.builds(commands.purge, queue=queues),
    st.builds(commands.dlq_purge, queue=queues),
    st.builds(
        commands.configure,
        st.sampled_from([None, None, DELIVERY_LEASE, DELIVERY_LEASE, DELIVERY_CONSUME]),
        st.sampled_from([None, 20]),
        st.sampled_from([None, 1, 2, 2]),
        queue=queues,
    ),
)
triples = st.builds(Triple, st.integers(1, 2), st.integers(1, 9), st.integers(0, 3))
queue_batches: st.SearchStrategy[list[Command]] = st.lists(
    st.one_of(
        plain_queue_commands,
        plain_queue_commands,
        plain_queue_commands,
        st.builds(within, triples, plain_queue_commands),
        st.builds(open_session, st.integers(1, 2)),
    ),
    max_size=6,
)
