"""Options and the numbers in them, refused here when no server would take them."""

from collections.abc import Sequence
from typing import TypeVar

from flo.exceptions import BlockTooLongError, ValidationError
from flo.wire.limits import (
    LEASE_MS_MAX,
    QUEUE_COUNT_MAX,
    QUEUE_LIST_LIMIT_MAX,
    QUEUE_SEQUENCES_MAX,
    WAIT_MS_MAX,
)

_O = TypeVar("_O")


def options_of(given: object, kind: type[_O]) -> _O:
    """The options of a call; None for none. A number in their place is no wish for the defaults."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ValidationError(f"options: give {kind.__name__}(...), not {given!r}")
    return given


def within(name: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValidationError(f"{name} of {number}: {least} to {most}")
    return number


def within_if_given(name: str, number: int | None, least: int, most: int) -> int | None:
    return None if number is None else within(name, number, least, most)


def lease_ms_of(name: str, lease_ms: int | None) -> int | None:
    return within_if_given(name, lease_ms, 1, LEASE_MS_MAX)


def count_of(count: int) -> int:
    return within("count", count, 1, QUEUE_COUNT_MAX)


def limit_of(limit: int) -> int:
    return within("limit", limit, 1, QUEUE_LIST_LIMIT_MAX)


def seqs_of(seqs: Sequence[int]) -> tuple[int, ...]:
    if isinstance(seqs, int):
        raise ValidationError(f"sequences: give a list, as [{seqs}]")
    within("number of sequences", len(seqs), 0, QUEUE_SEQUENCES_MAX)
    return tuple(seqs)


def block_ms_of(block_ms: int | None) -> int:
    if block_ms is None:
        return 0
    if block_ms < 0:
        raise ValidationError(f"block_ms of {block_ms}: it must not be negative")
    if block_ms > WAIT_MS_MAX:
        raise BlockTooLongError(f"block_ms of {block_ms}: at most {WAIT_MS_MAX}")
    return block_ms
