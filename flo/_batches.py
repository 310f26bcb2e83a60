"""Payloads, and the steps in which many of them are sent."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from flo.exceptions import ValidationError, ValueTooLargeError

PAYLOAD_BYTES_MAX = 16 << 20
BATCH_ITEMS_MAX = 1000
BATCH_BYTES_MAX = 512 << 10
"""Half of what a node takes with one request, unless it is configured otherwise."""

_T = TypeVar("_T")


def payload_of(payload: bytes | bytearray | memoryview) -> bytes:
    """A payload as bytes, if it is something like bytes and not too long."""
    if not isinstance(payload, bytes):
        try:
            payload = bytes(memoryview(payload))
        except TypeError as error:
            raise ValidationError(
                f"the payload is a {type(payload).__name__}: encode it to bytes first"
            ) from error
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueTooLargeError(f"payload of {len(payload)} bytes: at most {PAYLOAD_BYTES_MAX}")
    return payload


def batches_of(items: Iterable[_T], size_of: Callable[[_T], int]) -> list[tuple[_T, ...]]:
    """The items in their order, in as few steps as the limits allow."""
    batches: list[tuple[_T, ...]] = []
    batch: list[_T] = []
    bytes_in_batch = 0
    for item in items:
        size = size_of(item)
        if len(batch) == BATCH_ITEMS_MAX or (batch and bytes_in_batch + size > BATCH_BYTES_MAX):
            batches.append(tuple(batch))
            batch, bytes_in_batch = [], 0
        batch.append(item)
        bytes_in_batch += size
    return [*batches, tuple(batch)] if batch else batches
