"""All clients of a run, and what they keep of what they did."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.simulation.accounts import Account
from tests.simulation.caller import Session
from tests.simulation.clients import History, Worker
from tests.simulation.queue_clients import QueueClient, QueueDrain
from tests.simulation.queue_judge import judge_queue
from tests.simulation.stream_clients import StreamClient, StreamDrain
from tests.simulation.stream_judge import judge_stream
from tests.simulation.txn_clients import TxnClient

if TYPE_CHECKING:
    from tests.histories.deliveries import Evidence
    from tests.simulation.caller import Actor
    from tests.simulation.plan import Plan
    from tests.simulation.world import World

_LAST = 100
"""The number of whoever comes after the faults."""


class Crowd:
    """The clients of a plan by their numbers.

    0 to 4 use keys, 5 and 6 a queue, 7 and 8 a stream, 9 and 10 transactions. 0 and 1 share a
    session, so do 5, 7 and 9; 2, 8 and 10 have their own.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self.history = History()
        self.queue, self.stream = Account(world, b"queue"), Account(world, b"stream")
        shared, others = Session(), Session()
        sessions = (shared, shared, Session(), None, None)
        self.keys = [self.key_client(number, each) for number, each in enumerate(sessions)]
        self.txns = [self._txn_client(9, others), self._txn_client(10, Session())]
        everybody: list[Actor] = [
            *self.keys,
            QueueClient(world, self._rng(5), others, self.queue),
            QueueClient(world, self._rng(6), None, self.queue),
            StreamClient(world, self._rng(7), others, self.stream),
            StreamClient(world, self._rng(8), Session(), self.stream),
            *self.txns,
        ]
        self.clients = {number: everybody[number] for number in plan.workers}
        self.txn_last = self._txn_client(_LAST, None)
        """Reads what transactions have written, after the faults."""

    def key_client(self, number: int = _LAST, session: Session | None = None) -> Worker:
        """A client of keys."""
        return Worker(self._world, self.history, self._rng(number), session)

    def _txn_client(self, number: int, session: Session | None) -> TxnClient:
        return TxnClient(self._world, self.history, self._rng(number), session)

    def _rng(self, number: int) -> Random:
        return Random(f"{self._plan.seed} client {number}")

    # --- after the faults ---

    def drains(self) -> list[Actor]:
        """Those who take what is left in the queue and the group."""
        self._queue_drain = QueueDrain(self._world, self._rng(_LAST), None, self.queue)
        self._stream_drain = StreamDrain(self._world, self._rng(_LAST), None, self.stream)
        return [self._queue_drain, self._stream_drain]

    def tell_drains(self) -> None:
        """Whether more may come."""
        are_busy = any(each.is_busy for each in self.clients.values())
        self._queue_drain.others_are_busy = are_busy
        self._stream_drain.others_are_busy = are_busy

    def judge(self) -> dict[str, Evidence]:
        """The verdict on all but the keys. Raises Violation."""
        dead, log = self._queue_drain.dead, self._stream_drain.log
        assert dead is not None
        assert log is not None
        return {
            "queue": judge_queue(self.queue, dead),
            "group": judge_stream(self.stream, log),
        }

    @property
    def trace(self) -> list[str]:
        """All that clients saw."""
        calls = [f"{each.start} {each.end} {each.key} {each}" for each in self.history.all()]
        return calls + self.queue.trace + self.stream.trace
