"""What a stream worker is configured with, and what it gives to a handler."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from flo._checks import block_ms_of, within
from flo.exceptions import ValidationError
from flo.stream_types import StreamID, StreamRecord
from flo.wire.limits import LEASE_MS_MAX, READ_LIMIT_MAX

WORKER_BLOCK_MS_DEFAULT = 30_000

_T = TypeVar("_T")


@dataclass
class StreamWorkerOptions:
    """How a worker works; see `FloClient.new_stream_worker`."""

    stream: str
    group: str = ""
    consumer: str = ""
    worker_id: str = ""
    concurrency: int = 10
    batch_size: int = 10
    block_ms: int = WORKER_BLOCK_MS_DEFAULT
    message_timeout: float = 300.0
    redeliver_pending_on_reconnect: bool = True
    claim_min_idle_ms: int = 0

    def __post_init__(self) -> None:
        self.block_ms = block_ms_of(self.block_ms) or WORKER_BLOCK_MS_DEFAULT
        for name, number in (("concurrency", self.concurrency), ("batch_size", self.batch_size)):
            within(name, number, 1, READ_LIMIT_MAX)
        if not self.message_timeout > 0:
            raise ValidationError(
                f"message_timeout of {self.message_timeout}: it must be more than 0"
            )
        within("claim_min_idle_ms", self.claim_min_idle_ms, 0, LEASE_MS_MAX)


@dataclass
class StreamContext:
    """A record in the hands of a worker's handler."""

    record: StreamRecord
    namespace: str
    stream: str
    group: str
    consumer: str

    @property
    def stream_id(self) -> StreamID:
        """The record's id."""
        return self.record.id

    @property
    def payload(self) -> bytes:
        """The record's payload."""
        return self.record.payload

    @property
    def headers(self) -> dict[str, str]:
        """The record's headers, none when it has none."""
        return self.record.headers or {}

    def json(self) -> object:
        """The payload, parsed as JSON. Raises ValueError."""
        if not self.payload:
            raise ValueError("the payload is empty")
        parsed: object = json.loads(self.payload)
        return parsed

    def into(self, cls: Callable[..., _T]) -> _T:
        """The payload as an object: the fields of a JSON object are the arguments of `cls`.

        Any other JSON value is its only argument. Raises ValueError, and what `cls` does.
        """
        value = self.json()
        if isinstance(value, dict):
            return cls(**cast(dict[str, object], value))
        return cls(value)


StreamRecordHandler: TypeAlias = Callable[[StreamContext], Awaitable[None]]
"""Handles one record: it is done when this returns, and delivered again when this raises."""
