"""What a waiting call waits for, by operation code.

A topic begins with the kind of thing it names; the state machine touches the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.queries import WAIT_GET
from cluster.state.group_commands import GROUP_READ, WAIT_FOR_KEYS, WAIT_FOR_LEASE
from cluster.state.queue_commands import DEQUEUE
from cluster.stream_queries import WAIT_STREAM_READ

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Topics: TypeAlias = tuple[bytes, ...]
"""The topic of a call; after it those that also wake it."""


def topics_of(code: int, args: Sequence[object]) -> Topics | None:
    """What a call with these arguments waits for; None for an operation that does not wait."""
    topics = _TOPICS.get(code)
    return None if topics is None else topics(args)


def takes_turns(code: int) -> bool:
    """Whether all who wait for one topic wait for the same: nothing is there for one who comes
    later that is not for those who wait already. A member of a group may find what others do not.
    """
    return code == DEQUEUE


def _key(args: Sequence[object]) -> Topics:
    namespace, key = cast("Sequence[bytes]", args[:2])
    return (b"k" + namespace + b"\x00" + key,)


def _queue(args: Sequence[object]) -> Topics:
    namespace, name = cast("Sequence[bytes]", args[:2])
    return (b"q" + namespace + b"\x00" + name,)


def _stream(args: Sequence[object]) -> Topics:
    namespace, name = cast("Sequence[bytes]", args[:2])
    return (b"s" + namespace + b"\x00" + name,)


def _group(args: Sequence[object]) -> Topics:
    namespace, stream, group, consumer = cast("Sequence[bytes]", args[:4])
    waits, home = args[5], namespace + b"\x00" + stream
    topic = home + b"\x00" + group
    if waits == WAIT_FOR_LEASE:
        return (b"h" + topic,)
    if waits == WAIT_FOR_KEYS:
        return b"g" + topic + b"\x00" + consumer, b"g" + topic, b"s" + home
    return b"g" + topic, b"s" + home


_TOPICS: dict[int, Callable[[Sequence[object]], Topics]] = {
    WAIT_GET: _key,
    DEQUEUE: _queue,
    WAIT_STREAM_READ: _stream,
    GROUP_READ: _group,
}
