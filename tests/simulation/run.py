"""One simulated run: a plan's faults and clients, then a quiet end and the verdict."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from cluster.queries import GET, Result
from cluster.raft.types import NodeId
from flo.wire.routing import partition_of
from tests.histories.judge import Verdict, judge
from tests.histories.operations import Kind, Outcome
from tests.simulation.caller import NAMESPACE, Actor
from tests.simulation.clients import KEYS
from tests.simulation.crowd import Crowd
from tests.simulation.faults import BY_NAME, heal
from tests.simulation.plan import LAYOUTS, WORKERS, Plan
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.histories.deliveries import Evidence

QUIET_S = 0.04
QUIET_ROUNDS = 1_500
"""A minute: within it everything must be as if nothing had happened."""
_REDIAL = 0.03
"""The chance of each pair, in each step, to connect anew if need be: about twice a second."""
_RETURN = 0.015
"""The chance of a node that is down or paused, in each step, to go on."""
_LINK_ROOM = 15


class Run:
    """The schedule of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed, plan.nodes, replicas=LAYOUTS[plan.nodes])
        self.world.on_crash = self._crashed
        self.world.link_room = _LINK_ROOM
        self.crowd = Crowd(self.world, plan)
        self.history = self.crowd.history
        self.workers: list[Actor] = list(self.crowd.clients.values())
        self.verdict = Verdict()
        self.evidence: dict[str, Evidence] = {}
        self.step = 0
        self.quiet_rounds = 0
        self._rng = Random(f"{plan.seed} schedule")

    def execute(self) -> None:
        """Raises when a promise was broken: AssertionError, Violation, or what the code raised."""
        world = self.world
        for pair in world.pairs:
            world.connect(*pair)
        events = iter(self.plan.events)
        event = next(events, None)
        for step in range(self.plan.steps):
            self.step = step
            self._step()
            if event is not None and event.step == step:
                world.rng.seed(event.seed)
                BY_NAME[event.fault].inject(world)
                event = next(events, None)
            world.check()
            world.stop_failed()
        heal(world)
        self.workers += self.crowd.drains()
        self._until(self._settled, "no progress after the faults stopped")
        self._judge()

    def _step(self) -> None:
        """The same draws in every step, whatever goes on: with a fault less the rest stays."""
        world, random = self.world, self._rng.random
        world.clock.now += (0.001, 0.005, 0.02, 0.05)[int(random() * 4)]
        for node in world.nodes.values():
            ticks, passes, disk, returns = random() < 0.6, int(random() * 3), random(), random()
            if not node.runs:
                if returns < _RETURN:
                    node.paused = False
                    world.restart(node.node_id)
                continue
            if ticks:
                node.tick()
            for _ in range(passes):
                node.run_callbacks()
            if disk < 0.1:
                node.executor.run_next()
            elif disk < 0.2:
                node.snapshot_executor.run_next()
        for (a, b), link in world.links.items():
            draw = random()
            if draw < (0.05 if link.slow else 0.6):
                count = (1, 2, 5, 50)[int(random() * 4)]
                if link.queue:
                    world.deliver(a, b, count)
            elif draw > 0.9 and link.leftovers:
                world.deliver_leftover(a, b)
            elif draw > 0.85 and not link.up:
                world.notice_losses(b, a)
        for pair in world.pairs:
            if random() < _REDIAL:
                world.connect(*pair)
        for number in range(WORKERS):
            draw = random()
            worker = self.crowd.clients.get(number)
            if worker is not None and draw < worker.pace:
                worker.act()

    def _crashed(self, node_id: NodeId) -> None:
        for worker in self.workers:
            worker.crashed(node_id)

    # --- the end ---

    def _until(self, done: Callable[[], bool], failure: str) -> None:
        for _ in range(QUIET_ROUNDS):
            self._quiet_round()
            self.quiet_rounds += 1
            if done():
                return
        raise AssertionError(failure)

    def _quiet_round(self) -> None:
        world = self.world
        world.clock.now += QUIET_S
        if any(node.failure is not None for node in world.nodes.values()):
            heal(world)  # A disk that failed just before the end is noticed only now.
        for node in world.nodes.values():
            node.tick()
            for _ in range(3):
                node.run_callbacks()
                node.executor.run_next()
                node.snapshot_executor.run_next()
        for a, b in world.links:
            world.deliver(a, b, 1000)
        world.check()
        self.crowd.tell_drains()
        for worker in self.workers:
            worker.finish()

    def _settled(self) -> bool:
        """Everybody answered, everybody has everything, and somebody leads."""
        if any(worker.is_busy for worker in self.workers):
            return False
        nodes = self.world.nodes
        if any(node.learning for node in nodes.values()):
            return False
        return all(
            self._is_settled(number, ids) for number, ids in enumerate(self.world.founding.replicas)
        )

    def _is_settled(self, number: int, node_ids: tuple[NodeId, ...]) -> bool:
        nodes = [self.world.nodes[node_id] for node_id in node_ids]
        replicas = [node.partitions[number] for node in nodes]
        if any(replica.broken for replica in replicas):
            return False
        ends = {node.wal.group(number).last_index for node in nodes}
        ends |= {replica.replica.applied_index for replica in replicas}
        return len(ends) == 1 and any(replica.group.is_ready for replica in replicas)

    def _judge(self) -> None:
        """Every node serves a write and a read; all that was said before must have been true."""
        self._serve()
        self._until(self._settled, "the replicas do not meet")
        nodes = self.world.nodes
        for number, node_ids in enumerate(self.world.founding.replicas):
            digests = {nodes[each].partitions[number].replica.digest() for each in node_ids}
            assert len(digests) == 1, f"partition {number}: replicas differ"
        for each in self.crowd.keys:
            for key, value in each.kept.items():
                assert self._stored(key) == value, f"acknowledged {key!r} is gone"
        self.verdict = judge(self.history.all(), self._partition_of, ended=True)
        self.evidence = self.crowd.judge()

    def _serve(self) -> None:
        keys, last = self.crowd.key_client(), self.crowd.txn_last
        self.workers += [keys, last]
        node_ids = self.world.node_ids
        asks: list[tuple[Actor, Callable[[], None]]] = [
            (keys, partial(keys.ask_for, Kind.INCR, ["count"], each)) for each in node_ids
        ]
        node_id = self._rng.choice(node_ids)
        asks.append((keys, partial(keys.ask_for, Kind.GET, list(KEYS), node_id)))
        asks.append((last, lambda: last.ask(last.read(), node_id)))
        for asked, ask in asks:
            answered = self.answered

            def is_answered(
                asked: Actor = asked, ask: Callable[[], None] = ask, answered: int = answered
            ) -> bool:
                if not asked.is_busy and self.answered == answered:
                    ask()  # The first try, or it was refused.
                return self.answered > answered

            self._until(is_answered, "a node does not serve after the faults stopped")

    def _partition_of(self, key: str) -> int:
        return partition_of(NAMESPACE, key.encode(), self.world.founding.partition_count)

    def _stored(self, key: str) -> object:
        number = self._partition_of(key)
        node = self.world.nodes[self.world.founding.replicas[number][0]]
        answer = _Answer()
        node.partitions[number].read_stale(GET, (NAMESPACE, key.encode()), answer)
        return answer.result[2] if answer.result[0] == 0 else None

    # --- what was done ---

    @property
    def answered(self) -> int:
        return sum(each.outcome is Outcome.OK for each in self.history.ended)

    @property
    def trace(self) -> list[str]:
        """All that clients saw: equal for equal runs."""
        return self.crowd.trace


class _Answer:
    """Implements `Waiter`."""

    def __init__(self) -> None:
        self.result: Result = ()

    def on_result(self, result: Result) -> None:
        self.result = result

    def on_not_leader(self, leader: NodeId) -> None:
        raise AssertionError(f"not the leader; {leader} is")

    def on_unknown(self) -> None:
        raise AssertionError("a read cannot be unknown")
