"""What must be true of a stream and its group when the group was drained."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flo.wire import group_messages as groups
from flo.wire import stream_messages as wire
from tests.histories.deliveries import (
    Added,
    Deliveries,
    Evidence,
    Returned,
    Stored,
    Taken,
    judge_deliveries,
    judge_log,
)
from tests.histories.explain import Violation
from tests.histories.operations import Outcome
from tests.simulation.stream_clients import LEASE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.simulation.accounts import Account, AccountCall


class _Known(NamedTuple):
    """From this moment on every read must find this record."""

    since: float
    id: wire.StreamId


def judge_stream(account: Account, log: Sequence[wire.StreamRecord]) -> Evidence:
    """Nothing is lost, invented, doubled or out of order; each read saw what was there."""
    added = [_added(account, call, body) for call, body in account.of(wire.StreamAppend)]
    judge_log(added, [Stored(tuple(each.id), each.payload) for each in log])
    _check_reads(account, log)
    history = Deliveries(added=[part for each in added for part in account.parts_of(each)])
    for kind in (groups.GroupRead, groups.GroupClaim):
        for call, _ in account.of(kind):
            history.taken += _taken(call)
    for call, ack in account.of(groups.GroupAck):
        history.returned.append(_returned(call, ack.ids, done=True))
    for call, nack in account.of(groups.GroupNack):
        history.returned.append(_returned(call, nack.ids, done=False))
    return judge_deliveries(history)


def _added(account: Account, call: AccountCall, body: wire.StreamAppend) -> Added:
    assert not call.also, f"{body}: first {call.said}, then {call.also}"
    payloads = tuple(item.payload for item in body.records)
    places: tuple[tuple[int, ...], ...] = ()
    if isinstance(call.said, wire.Appended):
        ms, first = call.said.id
        places = tuple((ms, first + number) for number in range(len(payloads)))
    return Added(*account.outcome_of(call), payloads, places)


def _taken(call: AccountCall) -> list[Taken]:
    """The records of a read or claim, each once: one that found nothing may run again."""
    full = [
        (answer.records, end)
        for end, answer in call.answers
        if isinstance(answer, wire.Records | groups.Claimed) and answer.records
    ]
    if any(records != full[0][0] for records, _ in full):
        raise Violation(f"two answers to one call: {call.body}\n  {call.said}\n  {call.also}")
    return [
        Taken(call.start, end, tuple(each.id), each.payload, LEASE_MS / 1000)
        for records, end in full[:1]
        for each in records
    ]


def _returned(call: AccountCall, ids: Iterable[wire.StreamId], *, done: bool) -> Returned:
    return Returned(call.start, call.end, call.outcome, tuple(map(tuple, ids)), done)


def _check_reads(account: Account, log: Sequence[wire.StreamRecord]) -> None:
    """Each read found a part of the log without a gap, up to its limit or what was known to be
    there when it began."""
    known = _known(account)
    for call, body in account.of(wire.StreamRead):
        if call.outcome is not Outcome.OK:
            continue
        assert isinstance(call.said, wire.Records)
        records = call.said.records
        before = max((each.id for each in known if each.since < call.start), default=None)
        start = body.start or wire.StreamId(0, 0)
        if body.tail and records:
            start = records[0].id
            if before is not None and start <= before:
                raise Violation(f"{body} began at {start}, and {before} was there before")
        expected = [each for each in log if each.id >= start][: len(records)]
        if list(records) != expected:
            raise Violation(f"{body} found\n  {records}\n  not\n  {expected}")
        if body.tail or len(records) == body.limit or before is None or before < start:
            continue
        if not records or records[-1].id < before:
            raise Violation(f"{body} found {records}, not {before} that was there before")


def _known(account: Account) -> list[_Known]:
    appends = [
        _Known(call.end, call.said.id)
        for call, _ in account.of(wire.StreamAppend)
        if isinstance(call.said, wire.Appended)
    ]
    reads = [
        _Known(call.end, call.said.records[-1].id)
        for call, _ in account.of(wire.StreamRead)
        if isinstance(call.said, wire.Records) and call.said.records
    ]
    return appends + reads
