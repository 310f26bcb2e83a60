"""Numbers that no node would take are refused before anything is sent."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from cluster.state.group_commands import IDS_MAX
from flo import (
    DequeueOptions,
    EnqueueOptions,
    FloClient,
    QueueConfigureOptions,
    QueueTouchOptions,
    StreamAlterOptions,
    StreamAppendOptions,
    StreamCreateOptions,
    StreamGroupCreateOptions,
    StreamGroupNackOptions,
    StreamGroupTouchOptions,
    StreamID,
    StreamReadOptions,
    StreamTrimOptions,
    ValidationError,
)
from flo.wire import group_messages, queue_messages, stream_messages
from flo.wire.limits import GROUP_IDS_MAX, RETENTION_AGE_S_MAX, TTL_MS_MAX
from flo.wire.messages import Done
from tests.unit.client.scripted import Scripted, scripted

U32, U16, U8 = 2**32 - 1, 2**16 - 1, 2**8 - 1

Call: TypeAlias = Callable[[FloClient, int], Awaitable[object]]

CALLS: dict[str, tuple[Call, int, int]] = {
    "delay_ms": (
        lambda client, n: client.queue.enqueue("q", b"", EnqueueOptions(delay_ms=n)),
        *(0, TTL_MS_MAX),
    ),
    "visibility_ms": (
        lambda client, n: client.queue.dequeue("q", 1, DequeueOptions(visibility_ms=n)),
        *(1, U32),
    ),
    "visibility_ms ": (
        lambda client, n: client.queue.configure("q", QueueConfigureOptions(visibility_ms=n)),
        *(1, U32),
    ),
    "max_attempts": (
        lambda client, n: client.queue.configure("q", QueueConfigureOptions(max_attempts=n)),
        *(1, U16),
    ),
    "extend_ms": (
        lambda client, n: client.queue.touch("q", [1], QueueTouchOptions(extend_ms=n)),
        *(1, U32),
    ),
    "number of sequences": (
        lambda client, n: client.queue.ack("q", range(n)),
        *(0, 10_000),
    ),
    "partitions": (
        lambda client, n: client.stream.create("s", StreamCreateOptions(partitions=n)),
        *(1, 1024),
    ),
    "max_age_seconds": (
        lambda client, n: client.stream.create("s", StreamCreateOptions(max_age_seconds=n)),
        *(0, RETENTION_AGE_S_MAX),
    ),
    "max_len": (
        lambda client, n: client.stream.alter("s", StreamAlterOptions(max_len=n)),
        *(0, 2**64 - 1),
    ),
    "at least 1|max_age_seconds": (
        lambda client, n: client.stream.trim("s", StreamTrimOptions(max_age_seconds=n)),
        *(1, RETENTION_AGE_S_MAX),
    ),
    "partition": (
        lambda client, n: client.stream.append("s", b"", StreamAppendOptions(partition=n)),
        *(0, 1023),
    ),
    "partition ": (
        lambda client, n: client.stream.read("s", StreamReadOptions(partition=n)),
        *(0, 1023),
    ),
    "ack_timeout_ms": (
        lambda client, n: client.stream.group_create(
            "s", "g", StreamGroupCreateOptions(ack_timeout_ms=n)
        ),
        *(0, U32),
    ),
    "max_deliver": (
        lambda client, n: client.stream.group_create(
            "s", "g", StreamGroupCreateOptions(max_deliver=n)
        ),
        *(0, U8),
    ),
    "max_standbys": (
        lambda client, n: client.stream.group_create(
            "s", "g", StreamGroupCreateOptions(max_standbys=n)
        ),
        *(0, U16),
    ),
    "delay_ms ": (
        lambda client, n: client.stream.group_nack(
            "s", "g", [StreamID()], StreamGroupNackOptions(delay_ms=n)
        ),
        *(0, U32),
    ),
    "extend_ms ": (
        lambda client, n: client.stream.group_touch(
            "s", "g", [StreamID()], StreamGroupTouchOptions(extend_ms=n)
        ),
        *(0, U32),
    ),
    "min_idle_ms": (lambda client, n: client.stream.group_claim("s", "g", "c", n), 0, U32),
    "number of ids": (
        lambda client, n: client.stream.group_ack("s", "g", [StreamID()] * n),
        *(0, 10_000),
    ),
}
"""By the word that the error has; a space tells those with the same word apart."""


def asked(there: Scripted) -> int:
    """How many requests came that are no part of connecting."""
    return sum(type(request.body) in there.answers for request in there.node.requests)


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_outside_is_refused_and_the_bounds_are_sent(name: str) -> None:
    call, least, most = CALLS[name]
    async with scripted() as there:
        there.answers |= {
            queue_messages.QueueEnqueue: queue_messages.Enqueued(1),
            queue_messages.QueueDequeue: queue_messages.QueueMessages(()),
            queue_messages.QueueConfigure: Done(),
            queue_messages.QueueTouch: Done(),
            queue_messages.QueueAck: Done(),
            stream_messages.StreamCreate: Done(),
            stream_messages.StreamAlter: Done(),
            stream_messages.StreamTrim: stream_messages.Trimmed(0, 1),
            stream_messages.StreamAppend: stream_messages.Appended(stream_messages.StreamId(1, 1)),
            stream_messages.StreamRead: stream_messages.Records(()),
            group_messages.GroupCreate: Done(),
            group_messages.GroupNack: Done(),
            group_messages.GroupTouch: Done(),
            group_messages.GroupAck: Done(),
            group_messages.GroupClaim: group_messages.Claimed((), None),
        }
        for wrong in (least - 1, most + 1):
            # There is no list with fewer than no items.
            if wrong >= 0 or not name.startswith("number"):
                with pytest.raises(ValidationError, match=name.strip()):
                    await call(there.client, wrong)
        assert not asked(there)
        for right in (least, most):
            await call(there.client, right)
        assert asked(there) == 2


def test_the_bound_of_ids_is_that_of_the_nodes() -> None:
    assert GROUP_IDS_MAX == IDS_MAX


NO_OPTIONS: dict[str, Callable[[FloClient, object], Awaitable[object]]] = {
    "KVIncrOptions": lambda client, given: client.kv.incr("k", given),  # type: ignore[arg-type]
    "KVJsonOptions": lambda client, given: client.kv.json_get("k", "$", given),  # type: ignore[arg-type]
    "DequeueOptions": lambda client, given: client.queue.dequeue("q", 1, given),  # type: ignore[arg-type]
    "StreamReadOptions": lambda client, given: client.stream.read("s", given),  # type: ignore[arg-type]
    "StreamInfoOptions": lambda client, given: client.stream.info("s", given),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", NO_OPTIONS)
@pytest.mark.parametrize("given", [0, 5, {}, ""])
async def test_what_are_no_options_is_refused(name: str, given: object) -> None:
    """Zero is no wish for the defaults: `incr(key, 0)` would add 1."""
    async with scripted() as there:
        with pytest.raises(ValidationError, match=rf"give {name}\(\.\.\.\), not "):
            await NO_OPTIONS[name](there.client, given)
