"""What one operation needs in one revision: four functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from flo.wire.payload import Payload

B = TypeVar("B")
R = TypeVar("R")


class Codec(NamedTuple, Generic[B, R]):
    """How one revision writes and reads one operation.

    `decode_request` gets the payload and the value limit in bytes; `decode_result` the answer's
    data and the request it answers. `missing` is the result that this revision says with status
    "not found". `encode_extended`, where there is one, writes the result for an extended request:
    `decode_result` reads that too.
    """

    decode_request: Callable[[Payload, int], B]
    encode_request: Callable[[B], Payload]
    encode_result: Callable[[R], bytes]
    decode_result: Callable[[bytes, B], R]
    missing: R | None = None
    encode_extended: Callable[[R], bytes] | None = None
