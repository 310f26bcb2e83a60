"""Clients of one queue, and what must be true of it at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import queue_messages as wire
from tests.simulation.accounts import Account, AccountCall, AccountClient
from tests.simulation.caller import NAMESPACE

if TYPE_CHECKING:
    from random import Random

    from cluster.operation import Answer
    from tests.simulation.caller import Session
    from tests.simulation.world import World

_ENQUEUE, _BATCH, _TAKE, _ACK, _NACK = 0.2, 0.28, 0.45, 0.8, 0.9
"""Where each kind of call ends in what is drawn; the rest are touches."""
_DEDUP = 0.2
_LEASES_MS = (200, 1_000, 2_000)
EXTEND_MS = 2_000
"""No shorter than any lease: a touch never ends one sooner."""
_PRIORITIES = (0, 0, 0, 1, 7)
_DELAYS_MS = (0, 0, 0, 300)
_WAITS_MS = (200, 800)
_DRAIN = 100


class QueueClient(AccountClient):
    """Enqueues, takes, and does as it likes with what it was given."""

    def __init__(
        self, world: World, rng: Random, session: Session | None, account: Account
    ) -> None:
        super().__init__(world, rng, session, account)
        self.held: list[int] = []

    def next_call(self) -> AccountCall:
        draw = self.rng.random()
        if draw < _BATCH:
            return self._add(batch=draw >= _ENQUEUE)
        if draw < _TAKE or not self.held:
            return self._take()
        some = self.rng.sample(self.held, min(len(self.held), self.rng.choice((1, 1, 3))))
        return self._give(draw, tuple(some))

    def _add(self, *, batch: bool) -> AccountCall:
        name = self.account.name
        if batch:
            items = tuple(self._item() for _ in range(self.rng.choice((2, 3))))
            return self.made_exact(wire.QueueEnqueueBatch(NAMESPACE, name, items))
        item = self._item()
        if self.rng.random() >= _DEDUP:
            return self.made_exact(wire.QueueEnqueue(NAMESPACE, name, *item))
        body = wire.QueueEnqueue(NAMESPACE, name, *item[:3], dedup_key=b"once " + item.payload)
        return self.made(body, may_repeat=True)

    def _item(self) -> wire.QueueItem:
        payload = self.account.new_payload()
        return wire.QueueItem(payload, self.rng.choice(_PRIORITIES), self.rng.choice(_DELAYS_MS))

    def _take(self) -> AccountCall:
        rng = self.rng
        body = wire.QueueDequeue(
            NAMESPACE, self.account.name, rng.choice((1, 2, 5)), 0, rng.choice(_LEASES_MS)
        )
        if rng.random() < 0.4:
            return self.made(body._replace(wait_ms=rng.choice(_WAITS_MS)))
        return self.made_exact(body)

    def _give(self, draw: float, some: tuple[int, ...]) -> AccountCall:
        name = self.account.name
        if draw >= _NACK:
            return self.made_exact(wire.QueueTouch(NAMESPACE, name, some, EXTEND_MS))
        self.held = [each for each in self.held if each not in some]
        if draw < _ACK:
            return self.made_exact(wire.QueueAck(NAMESPACE, name, some))
        body = wire.QueueNack(NAMESPACE, name, some, to_dead_letter=self.rng.random() < 0.2)
        return self.made_exact(body)

    def finish(self) -> None:
        """What it holds it gives up, so that nobody waits for the leases to end."""
        if self.call is None and self.held:
            held, self.held = tuple(self.held), []
            self.call = self.made(wire.QueueAck(NAMESPACE, self.account.name, held))
        super().finish()

    def heard(self, call: AccountCall, answer: Answer) -> None:
        super().heard(call, answer)
        if isinstance(call.body, wire.QueueDequeue) and isinstance(answer, wire.QueueMessages):
            self.held += [each.sequence for each in answer.messages]


class QueueDrain(QueueClient):
    """After the faults: takes and acknowledges all that is left, and looks at the dead letters."""

    dead: tuple[wire.QueueMessage, ...] | None = None
    """What it found there in the end."""
    _found_nothing = False
    _is_empty = False

    others_are_busy = False
    """Then more may come."""

    @property
    def is_busy(self) -> bool:
        return self.dead is None

    def finish(self) -> None:
        if self.call is None and self.dead is None:
            self.act()
        else:
            super().finish()

    def next_call(self) -> AccountCall:
        name = self.account.name
        if self.held:
            held, self.held = tuple(self.held), []
            return self.made(wire.QueueAck(NAMESPACE, name, held))
        if self._is_empty and not self.others_are_busy:
            return self.made(wire.QueueDlqList(NAMESPACE, name, _DRAIN))
        if self._found_nothing:
            self._found_nothing = False
            self.account.closed_at = self.account.now()
            return self.made(wire.QueueStats(NAMESPACE, name))
        body = wire.QueueDequeue(NAMESPACE, name, _DRAIN, 0, min(_LEASES_MS))
        return self.made(body)

    def heard(self, call: AccountCall, answer: Answer) -> None:
        super().heard(call, answer)
        if isinstance(answer, wire.QueueSummary):
            self._is_empty = not (answer.ready or answer.delayed or answer.leased)
        elif isinstance(call.body, wire.QueueDlqList):
            assert isinstance(answer, wire.QueueMessages)
            self.dead = answer.messages
        elif isinstance(answer, wire.QueueMessages):
            self._found_nothing = not answer.messages
