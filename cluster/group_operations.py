"""The operations on consumer groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.state.group_commands import (
    GROUP_ACK,
    GROUP_CLAIM,
    GROUP_CONFIGURE,
    GROUP_CREATE,
    GROUP_DELETE,
    GROUP_JOIN,
    GROUP_LEAVE,
    GROUP_NACK,
    GROUP_READ,
    GROUP_TOUCH,
    IDS_MAX,
    WAIT_FOR_RECORDS,
)
from cluster.stream_operations import deleted, done, operation_on_stream, refuse_early, to_records
from cluster.stream_queries import GROUP_INFO, GROUP_PENDING
from flo.wire import group_messages as wire
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import Records, StreamId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cluster.operation import Arguments, Operation, Placed
    from cluster.queries import Result
    from flo.wire.messages import Result as WireResult

_IdsBody: TypeAlias = wire.GroupAck | wire.GroupNack | wire.GroupTouch


def _refuse_ids_early(placed: Placed) -> Refusal | None:
    ids = cast("_IdsBody", placed).ids
    if len(ids) > IDS_MAX:
        return Refusal(Reason.OUT_OF_RANGE, Ran.NO, f"{len(ids)} ids at once: at most {IDS_MAX}")
    return refuse_early(placed)


def _fields(body: tuple[object, ...]) -> Arguments:
    """Where the command has the fields of the request, in their order."""
    return tuple(body)


def _create_arguments(body: wire.GroupCreate) -> Arguments:
    start = (None, None) if body.start is None else body.start
    names = (body.namespace, body.stream, body.group)
    return *names, int(body.mode), *start, int(body.tail), *body.settings


def _configure_arguments(body: wire.GroupConfigure) -> Arguments:
    return body.namespace, body.stream, body.group, *body.settings


def _read_arguments(body: wire.GroupRead) -> Arguments:
    names = (body.namespace, body.stream, body.group, body.consumer)
    return *names, body.limit, WAIT_FOR_RECORDS


def _claim_arguments(body: wire.GroupClaim) -> Arguments:
    names = (body.namespace, body.stream, body.group, body.consumer)
    return *names, body.min_idle_ms, *body.start, body.limit


def _ids_arguments(body: _IdsBody) -> Arguments:
    ids = tuple(tuple(each) for each in body.ids)
    return body.namespace, body.stream, body.group, body.consumer, ids


def _nack_arguments(body: wire.GroupNack) -> Arguments:
    return *_ids_arguments(body), body.delay_ms


def _touch_arguments(body: wire.GroupTouch) -> Arguments:
    return *_ids_arguments(body), body.extend_ms


def _pending_arguments(body: wire.GroupPending) -> Arguments:
    return body.namespace, body.stream, body.group, body.consumer or b""


def _wait_ms(placed: Placed) -> int:
    return cast("wire.GroupRead", placed).wait_ms


def _records(result: Result) -> WireResult:
    return Records(to_records(cast(bytes, result[1]), result[2]))


def _claimed(result: Result) -> WireResult:
    cursor = cast("Sequence[int] | None", result[3])
    records = to_records(cast(bytes, result[1]), result[2])
    return wire.Claimed(records, None if cursor is None else StreamId(*cursor))


def _pending(result: Result) -> WireResult:
    entries = cast("Iterable[tuple[int, int, int, bytes]]", result[1])
    return wire.PendingList(
        tuple(
            wire.PendingEntry(StreamId(ms, sequence), deliveries, consumer)
            for ms, sequence, deliveries, consumer in entries
        )
    )


def _info(result: Result) -> WireResult:
    mode, settings, cursor, pending, lag, consumers = cast(
        "tuple[int, Sequence[int], Sequence[int], int, int, Iterable[tuple[bytes, int, bool]]]",
        result[1:],
    )
    return wire.GroupInfoResult(
        wire.GroupMode(mode),
        wire.GroupSettings(*settings),
        StreamId(*cursor),
        pending,
        lag,
        tuple(wire.ConsumerSummary(*each) for each in consumers),
    )


def _write(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return operation_on_stream(code, arguments, answer, is_write=True)


def _read(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return operation_on_stream(code, arguments, answer, is_write=False)


_GROUP_READ = _write(GROUP_READ, _read_arguments, _records)._replace(
    bounded=True, wait_ms=_wait_ms, empty=Records(())
)

GROUP_OPERATIONS: dict[int, Operation] = {
    0x150: _write(GROUP_CREATE, _create_arguments, done),
    0x151: _write(GROUP_JOIN, _fields, done),
    0x152: _write(GROUP_LEAVE, _fields, done),
    0x153: _GROUP_READ,
    0x154: _write(GROUP_ACK, _ids_arguments, done)._replace(early=_refuse_ids_early),
    0x155: _write(GROUP_CLAIM, _claim_arguments, _claimed)._replace(bounded=True),
    0x156: _read(GROUP_PENDING, _pending_arguments, _pending)._replace(bounded=True),
    0x159: _write(GROUP_NACK, _nack_arguments, done)._replace(early=_refuse_ids_early),
    0x15A: _write(GROUP_TOUCH, _touch_arguments, done)._replace(early=_refuse_ids_early),
    0x15B: _read(GROUP_INFO, _fields, _info),
    0x15C: _write(GROUP_DELETE, _fields, deleted),
    0xF020: _write(GROUP_CONFIGURE, _configure_arguments, done),
}
"""By the wire's operation code."""
