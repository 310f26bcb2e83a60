"""What clients of a queue or a stream did with it, by the clock of its partition's entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from flo.wire import group_messages, messages, queue_messages, stream_messages
from flo.wire.routing import partition_of
from tests.histories.deliveries import NEVER_ANSWERED
from tests.histories.operations import Outcome
from tests.simulation.caller import NAMESPACE, Call, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from cluster.operation import Answer
    from flo.wire.messages import Body
    from tests.histories.deliveries import Added
    from tests.simulation.caller import Session
    from tests.simulation.world import World

_EPOCH_MS = 1_690_000_000_000
"""Before every stamp of a run, whatever clocks do."""
_TICK_S = 1e-7
"""Between two moments with the same stamp; all ticks of a run are less than a millisecond."""

_READS = (
    queue_messages.QueueStats,
    queue_messages.QueueDlqList,
    stream_messages.StreamRead,
    group_messages.GroupInfo,
)

B = TypeVar("B", bound="Body")


@dataclass(eq=False)
class AccountCall(Call):
    """A call that is judged at the end. Its times are seconds of the account's clock."""

    start: float = 0.0
    end: float = NEVER_ANSWERED
    outcome: Outcome = Outcome.UNKNOWN
    also: list[tuple[float, Answer]] = field(default_factory=list["tuple[float, Answer]"])
    """Other answers than the first, and when they came: a take that found nothing is not
    remembered, and runs again."""

    @property
    def answers(self) -> list[tuple[float, Answer]]:
        """All answers that are not the same, and when they came."""
        return [*([] if self.said is None else [(self.end, self.said)]), *self.also]


class Account:
    """All calls on one queue or stream.

    Its clock is the latest stamp that any replica has applied, which is what leases are judged by.
    An entry that a call makes is stamped between the two readings at its beginning and end.
    """

    def __init__(self, world: World, name: bytes) -> None:
        self.name = name
        self.partition = partition_of(NAMESPACE, name, world.founding.partition_count)
        self.calls: list[AccountCall] = []
        self.closed_at = NEVER_ANSWERED
        """All that was added by then was taken. What comes later may be there or not."""
        self._world = world
        self._ticks = 0
        self._numbers = 0

    def now(self) -> float:
        """Seconds. No two readings are the same."""
        self._ticks += 1
        stamp_ms = self._world.stamp_ms(self.partition)
        return max(0, stamp_ms - _EPOCH_MS) / 1000 + self._ticks * _TICK_S

    def new_payload(self) -> bytes:
        """One that nobody else adds."""
        return b"%d" % self.new_number()

    def new_number(self) -> int:
        """One that nobody else has."""
        self._numbers += 1
        return self._numbers

    def outcome_of(self, call: AccountCall) -> tuple[float, float, Outcome]:
        """Start, end and outcome of a call that adds something."""
        if call.end > self.closed_at:
            return call.start, NEVER_ANSWERED, Outcome.UNKNOWN
        return call.start, call.end, call.outcome

    def parts_of(self, added: Added) -> list[Added]:
        """What counts as added at once when deliveries are judged: a batch that may have come after
        the last look may have been taken in part."""
        if added.end != NEVER_ANSWERED:
            return [added]
        places = added.places or (None,) * len(added.payloads)
        return [
            added._replace(payloads=(payload,), places=() if place is None else (place,))
            for payload, place in zip(added.payloads, places, strict=True)
        ]

    def of(self, kind: type[B]) -> Iterator[tuple[AccountCall, B]]:
        """The calls of one kind, in their order."""
        for call in self.calls:
            if isinstance(call.body, kind):
                yield call, call.body

    @property
    def trace(self) -> list[str]:
        """All that clients saw."""
        return [f"{call.start} {call.end} {call.body} {call.said}" for call in self.calls]


class AccountClient(Client[AccountCall]):
    """A client of one queue or stream. With a session half of its calls use it."""

    pace = 0.6
    gives_up = 0.04

    def __init__(
        self, world: World, rng: Random, session: Session | None, account: Account
    ) -> None:
        super().__init__(world, rng, session)
        self.account = account

    def made(self, body: Body, *, may_repeat: bool = False) -> AccountCall:
        """A call without a session."""
        call = AccountCall(
            body,
            is_write=not isinstance(body, _READS),
            may_repeat=may_repeat,
            start=self.account.now(),
        )
        self.account.calls.append(call)
        return call

    def made_exact(self, body: Body) -> AccountCall:
        """A call that is repeated with its session, if there is one and chance will have it."""
        if self.session is None or self.rng.random() < 0.5:
            return self.made(body)
        slot = self.slot_of(self.account.partition)
        if slot is None:
            return AccountCall(messages.OpenSession(self.account.partition))
        call = self.made(body)
        call.slot = slot
        return self.give_sequence(call)

    def heard(self, call: AccountCall, answer: Answer) -> None:
        call.end, call.outcome = self.account.now(), Outcome.OK

    def heard_again(self, call: AccountCall, answer: Answer) -> None:
        if call.said is None and call.outcome is Outcome.UNKNOWN:
            # Its session was lost while it was tried again; now an earlier try says what it did.
            call.said = answer
            self.heard(call, answer)
        elif answer != call.said:
            call.also.append((self.account.now(), answer))

    def not_run(self, call: AccountCall) -> None:
        call.end, call.outcome = self.account.now(), Outcome.FAILED
