"""What a waiting call waits for, by operation code.

A topic begins with the kind of thing it names; the state machine touches the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.queries import WAIT_GET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Topics: TypeAlias = tuple[bytes, ...]
"""The topic of a call; after it one that also wakes it."""


def topics_of(code: int, args: Sequence[object]) -> Topics | None:
    """What a call with these arguments waits for; None for an operation that does not wait."""
    topics = _TOPICS.get(code)
    return None if topics is None else topics(args)


def _key(args: Sequence[object]) -> Topics:
    namespace, key = cast("Sequence[bytes]", args[:2])
    return (b"k" + namespace + b"\x00" + key,)


_TOPICS: dict[int, Callable[[Sequence[object]], Topics]] = {
    WAIT_GET: _key,
}
