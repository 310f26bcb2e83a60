"""How much a command takes, about."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

_NESTED_OVERHEAD_BYTES = 16


def bytes_of(args: Iterable[object]) -> int:
    """About what a command with these arguments takes in the log."""
    size = 0
    for arg in args:
        if type(arg) is bytes:
            size += len(arg)
        elif type(arg) is tuple or type(arg) is list:
            size += bytes_of(cast("Iterable[object]", arg)) + _NESTED_OVERHEAD_BYTES
    return size
