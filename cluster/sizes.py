"""How much a command takes, about: bytes while it waits, and work when it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cluster.state.commands import JSON_DELETE, JSON_SET
from cluster.state.work import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NESTED_OVERHEAD_BYTES = 16
_NUMBER_BYTES = 40
"""Of a number in a list, in memory: in the log it takes 9 at most."""
_ROW_BYTES = 128
"""A row that a command touches costs about as much as so many bytes of a value: 5 to 10 us."""
_JSON_BYTES = 128 << 10
"""A change of a JSON document, whose length is not known before: of 1 MiB it takes 10 to 50 ms."""


def bytes_of(args: Iterable[object]) -> int:
    """About what a command with these arguments takes in memory, and at most in the log."""
    size = 0
    for arg in args:
        if type(arg) is bytes:
            size += len(arg)
        elif type(arg) is tuple or type(arg) is list:
            items = cast("list[object]", arg)
            if set(map(type, items)) == {int}:
                size += _NUMBER_BYTES * len(items)
            else:
                size += bytes_of(items)
            size += _NESTED_OVERHEAD_BYTES
    return size


def work_of(command: Sequence[object]) -> int:
    """What it costs to apply beside its bytes, in bytes that would cost as much.

    Commands that name thousands of rows are small, and would stop the node for seconds if as many
    of them became one entry as have room in it.
    """
    if command[0] in (JSON_SET, JSON_DELETE):
        return _JSON_BYTES
    return _ROW_BYTES * rows_of(command)
