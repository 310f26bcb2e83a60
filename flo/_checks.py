"""Numbers in options, refused here when no server would take them."""

from collections.abc import Sequence

from flo.exceptions import BlockTooLongError, ValidationError
from flo.wire.limits import WAIT_MS_MAX


def count_of(count: int) -> int:
    if not 1 <= count <= 100:
        raise ValidationError(f"count of {count}: 1 to 100")
    return count


def limit_of(limit: int) -> int:
    if not 1 <= limit <= 1000:
        raise ValidationError(f"limit of {limit}: 1 to 1000")
    return limit


def seqs_of(seqs: Sequence[int]) -> tuple[int, ...]:
    if isinstance(seqs, int):
        raise ValidationError(f"sequences: give a list, as [{seqs}]")
    return tuple(seqs)


def positive(name: str, number: int | None) -> int | None:
    if number is not None and number < 1:
        raise ValidationError(f"{name} of {number}: at least 1")
    return number


def block_ms_of(block_ms: int | None) -> int:
    if block_ms is None:
        return 0
    if block_ms < 0:
        raise ValidationError(f"block_ms of {block_ms}: it must not be negative")
    if block_ms > WAIT_MS_MAX:
        raise BlockTooLongError(f"block_ms of {block_ms}: at most {WAIT_MS_MAX}")
    return block_ms
