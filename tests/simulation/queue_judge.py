"""What must be true of a queue when it was drained."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.state.queue import DEDUP_MS
from flo.wire import queue_messages as wire
from tests.histories.deliveries import (
    NEVER_ANSWERED,
    Added,
    Deliveries,
    Evidence,
    Returned,
    Taken,
    judge_deliveries,
)
from tests.histories.explain import Violation
from tests.histories.operations import Outcome
from tests.simulation.queue_clients import EXTEND_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.accounts import Account, AccountCall

_MAX_ATTEMPTS = 5


class _Message(NamedTuple):
    """One that was surely ready, never delivered before, in this time."""

    since: float
    until: float
    priority: int
    sequence: int


def judge_queue(account: Account, dead: Iterable[wire.QueueMessage]) -> Evidence:
    """Nothing is lost, invented, doubled, leased twice at once, or taken out of order."""
    history = Deliveries(added=_added(account))
    for call, body in account.of(wire.QueueDequeue):
        history.taken += _taken(call, body)
    for call, ack in account.of(wire.QueueAck):
        history.returned.append(_returned(call, ack.sequences, done=True))
    for call, nack in account.of(wire.QueueNack):
        history.returned.append(_returned(call, nack.sequences, done=False))
    _check_order(account, history)
    _check_touches(account, history)
    _add_dead(account, dead, history)
    _split_forgotten(account, history)
    return judge_deliveries(history)


def _places(sequences: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    return tuple((sequence,) for sequence in sequences)


def _added(account: Account) -> list[Added]:
    added: list[Added] = []
    for call, body in account.of(wire.QueueEnqueue):
        assert not call.also or body.dedup_key, f"{body}: first {call.said}, then {call.also}"
        places = _places([call.said.sequence]) if isinstance(call.said, wire.Enqueued) else ()
        added.append(Added(*account.outcome_of(call), (body.payload,), places))
    for call, batch in account.of(wire.QueueEnqueueBatch):
        assert not call.also, f"{batch}: first {call.said}, then {call.also}"
        said = call.said
        places = _places(said.sequences) if isinstance(said, wire.EnqueuedBatch) else ()
        payloads = tuple(item.payload for item in batch.items)
        whole = Added(*account.outcome_of(call), payloads, places)
        added += account.parts_of(whole)
    return added


def _taken(call: AccountCall, body: wire.QueueDequeue) -> list[Taken]:
    """The messages of a dequeue, each once: of two answers one may have less, for what was
    acknowledged in between is left out."""
    answers = [
        (answer.messages, end)
        for end, answer in call.answers
        if isinstance(answer, wire.QueueMessages)
    ]
    full, end = max(answers, key=lambda each: len(each[0]), default=((), call.end))
    if not all(each in full for messages, _ in answers for each in messages):
        raise Violation(f"two answers to one call: {body}\n  {call.said}\n  {call.also}")
    assert body.visibility_ms is not None
    lease_s = body.visibility_ms / 1000
    return [
        Taken(call.start, end, (each.sequence,), each.payload, lease_s, each.delivery_count)
        for each in full
    ]


def _returned(call: AccountCall, sequences: Iterable[int], *, done: bool) -> Returned:
    return Returned(call.start, call.end, call.outcome, _places(sequences), done)


def _split_forgotten(account: Account, history: Deliveries) -> None:
    """A deduplication key is forgotten in the end: who repeats a call then adds another message."""
    now = account.now()
    forgotten = {
        body.payload: call
        for call, body in account.of(wire.QueueEnqueue)
        if body.dedup_key and call.tries > 1 and now - call.start >= DEDUP_MS / 1000
    }
    place_of = {each.payloads[0]: each.places[0] for each in history.added if each.places}
    for number, each in enumerate(history.taken):
        first = place_of.setdefault(each.payload, each.place)
        if first != each.place and each.payload in forgotten:
            again = b"%s at %d" % (each.payload, each.place[0])
            history.taken[number] = each._replace(payload=again)
            start = forgotten[each.payload].start
            added = Added(start, NEVER_ANSWERED, Outcome.UNKNOWN, (again,))
            if added not in history.added:
                history.added.append(added)


def _add_dead(account: Account, dead: Iterable[wire.QueueMessage], history: Deliveries) -> None:
    """Dead letters were taken for the last time, and are done with."""
    refused = {
        sequence
        for call, body in account.of(wire.QueueNack)
        if body.to_dead_letter and call.outcome is not Outcome.FAILED
        for sequence in body.sequences
    }
    for each in dead:
        if each.delivery_count < _MAX_ATTEMPTS and each.sequence not in refused:
            raise Violation(f"a dead letter, and nobody knows why: {each}")
        start, end = account.now(), account.now()
        place = (each.sequence,)
        count = each.delivery_count + 1
        history.taken.append(Taken(start, end, place, each.payload, 0, count))
        history.returned.append(Returned(end, end, Outcome.OK, (place,), done=True))


def _check_touches(account: Account, history: Deliveries) -> None:
    """A lease that was touched in time lasts longer, unless somebody else may have ended it."""
    for call, body in account.of(wire.QueueTouch):
        if call.outcome is not Outcome.OK:
            continue
        until = call.start + EXTEND_MS / 1000
        for place in _places(body.sequences):
            deliveries = [each for each in history.taken if each.place == place]
            returned = [each for each in history.returned if place in each.places]
            for one in deliveries:
                held = one.end < call.start and call.end < one.start + one.lease_s
                ends = [each.start for each in returned if each.end >= one.start]
                later = [each.end for each in deliveries if each.delivery > one.delivery]
                if held and later and min(later) < min([until, *ends]):
                    raise Violation(f"touched, and taken nevertheless: {one}, {body}, {deliveries}")


def _check_order(account: Account, history: Deliveries) -> None:
    """Whoever takes gets the first of what is there, and as much as there is."""
    ready = _surely_ready(account, history)
    for call, body in account.of(wire.QueueDequeue):
        if call.outcome is not Outcome.OK or call.also or call.tries > 1:
            continue
        assert isinstance(call.said, wire.QueueMessages)
        got = [(each.priority, each.sequence) for each in call.said.messages]
        if got != sorted(got):
            raise Violation(f"out of order: {call.said}")
        # What was acknowledged before the answer is left out of it.
        left_out = sum(
            len(ack.sequences)
            for other, ack in account.of(wire.QueueAck)
            if other.start < call.end and call.start < other.end
        )
        for each in ready:
            if each.since < call.start and call.end < each.until:
                place = (each.priority, each.sequence)
                if len(got) + left_out < body.count or (got and got[-1] > place):
                    raise Violation(
                        f"{each} was passed over from {call.start} to {call.end}:"
                        f" {body} got {call.said}"
                    )


def _surely_ready(account: Account, history: Deliveries) -> list[_Message]:
    """Nobody took them before, not even somebody who was not told."""
    first: dict[int, float] = {
        each.place[0]: each.start for each in history.taken if each.delivery == 1
    }
    ready: list[_Message] = []
    for call, body in account.of(wire.QueueEnqueue):
        if isinstance(call.said, wire.Enqueued) and not body.delay_ms:
            sequence = call.said.sequence
            if sequence in first:
                ready.append(_Message(call.end, first[sequence], body.priority, sequence))
    return ready
