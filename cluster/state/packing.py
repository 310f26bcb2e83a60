"""msgpack with types: it ships none, and its options are the same all over the state machine.

Arrays come back as tuples, which is what commands and results are; map keys may be numbers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import msgpack  # type: ignore[import-untyped]  # it ships no type information

if TYPE_CHECKING:
    from collections.abc import Callable

pack = cast("Callable[[object], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
unpack = cast(
    "Callable[[bytes], object]",
    partial(msgpack.unpackb, use_list=False, strict_map_key=False),  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
)
"""Raises ValueError for bytes that are no msgpack. Bounds every length by the bytes it is given."""
