"""Calls that wait: woken by the change itself, in their order, and gone when nobody waits."""

from __future__ import annotations

import pytest

from cluster.config import Limits
from cluster.waiting import Waiting
from flo.wire.messages import (
    Body,
    CallContext,
    KvDelete,
    KvGet,
    KvPut,
    OpenSession,
    SessionOpened,
    Stored,
    Value,
)
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.small_cluster import Answers, SmallCluster

NS = b"default"


class Sleeper:
    """A call that notes what happens to it."""

    def __init__(
        self, name: str, *topics: bytes, until: float = 10.0, is_write: bool = True
    ) -> None:
        self.name = name
        self.topics = topics
        self.wait_until = until
        self.is_write = is_write
        self.ticket = 0
        self.line = b""
        self.heard: list[str] = []
        self.order: list[str] = []

    def woken(self, line: bytes) -> None:
        self.heard.append("woken")
        self.order.append(self.name)
        self.line = line

    def again(self) -> None:
        self.heard.append("again")
        self.order.append(self.name)

    def wait_over(self) -> None:
        self.heard.append("over")

    def on_not_leader(self, leader: int) -> None:
        self.heard.append(f"leader {leader}")


class Looked(Sleeper):
    """Counts how often it is looked at."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        if name == "is_write":
            self.looks += 1
        return super().__getattribute__(name)


def sleepers(waiting: Waiting, count: int, *, is_write: bool = True) -> list[Sleeper]:
    made = [Sleeper(str(n), b"t", is_write=is_write) for n in range(count)]
    order: list[str] = []
    for each in made:
        each.order = order
        assert waiting.park(each)
    return made


class TestWaiting:
    def test_as_many_writes_wake_as_can_be_served_the_first_first(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 4)
        waiting.wake({b"t": 2, b"other": 5})
        assert made[0].order == ["0", "1"]
        assert len(waiting) == 2

    def test_all_reads_wake(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 4, is_write=False)
        waiting.wake({b"t": 1})
        assert made[0].order == ["0", "1", "2", "3"]

    def test_one_woken_for_nothing_gets_its_place_back(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 3)
        waiting.wake({b"t": 2})
        waiting.park(made[1])
        waiting.park(made[0])
        waiting.wake({b"t": 3})
        assert made[0].order == ["0", "1", "0", "1", "2"]

    def test_a_wider_topic_wakes_each_narrow_one(self) -> None:
        waiting = Waiting(10)
        first, second = Sleeper("a", b"g1", b"s"), Sleeper("b", b"g1", b"s")
        other = Sleeper("c", b"g2", b"s")
        for each in (first, second, other):
            waiting.park(each)
        waiting.wake({b"s": 1})
        assert [each.heard for each in (first, second, other)] == [["woken"], [], ["woken"]]
        waiting.wake({b"g1": 1})
        assert second.heard == ["woken"]

    def test_those_of_one_line_share_what_a_wider_topic_brings(self) -> None:
        """Each can also be woken alone."""
        waiting = Waiting(10)
        order: list[str] = []
        for name, line in (("d", b"g1"), ("c", b"g1"), ("b", b"g2"), ("a", b"g1")):
            call = Sleeper(name, line + name.encode(), line, b"s")
            call.order = order
            waiting.park(call)
        waiting.wake({b"g1a": 1})
        assert order == ["a"]
        waiting.wake({b"s": 1})
        assert sorted(order) == ["a", "b", "d"]
        waiting.wake({b"g1": 1})
        assert order[-1] == "c"
        assert len(waiting) == 0

    def test_a_cancelled_one_hears_nothing(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 2)
        waiting.cancel(made[0])
        waiting.wake({b"t": 1})
        waiting.tick(100.0)
        assert [each.heard for each in made] == [[], ["woken"]]
        assert len(waiting) == 0

    def test_time_ends_a_wait(self) -> None:
        waiting = Waiting(10)
        short, long = Sleeper("short", b"t", until=5.0), Sleeper("long", b"t", until=6.0)
        for each in (long, short):
            waiting.park(each)
        waiting.tick(5.0)
        assert (short.heard, long.heard) == (["over"], [])

    def test_it_is_bounded(self) -> None:
        waiting = Waiting(1)
        assert waiting.park(Sleeper("a", b"t"))
        assert not waiting.park(Sleeper("b", b"t"))

    def test_one_that_was_parked_has_its_place_though_others_came(self) -> None:
        waiting = Waiting(1)
        first = Sleeper("a", b"t")
        waiting.park(first)
        waiting.wake({b"t": 1})
        assert waiting.park(Sleeper("b", b"t"))
        assert waiting.park(first)
        assert not waiting.park(Sleeper("c", b"t"))

    def test_what_is_not_taken_wakes_the_next_with_the_tick(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 3)
        waiting.wake({b"t": 1})
        waiting.wake_later(b"t")
        assert made[0].order == ["0"]
        waiting.tick(1.0)
        assert made[0].order == ["0", "1"]
        waiting.tick(2.0)
        assert made[0].order == ["0", "1"]

    def test_one_that_is_held_is_tried_with_the_tick_and_stands_in_no_line(self) -> None:
        waiting = Waiting(2)
        made = sleepers(waiting, 1)
        held, more = Sleeper("held", b"h"), Sleeper("more", b"h")
        assert waiting.hold(held)
        assert not waiting.hold(more)
        assert not waiting.has_any(b"h")
        waiting.wake({b"h": 1})
        assert held.heard == []
        waiting.tick(1.0)
        waiting.tick(2.0)
        assert (held.heard, len(waiting)) == (["again"], 1)
        assert made[0].heard == []

    def test_one_that_is_held_ends_as_any_other(self) -> None:
        waiting = Waiting(10)
        made = [Sleeper(str(n), b"t", until=5.0 + n) for n in range(3)]
        for each in made:
            waiting.hold(each)
        waiting.cancel(made[1])
        waiting.tick(5.0)
        assert [each.heard for each in made] == [["over"], [], ["again"]]
        waiting.hold(made[2])
        assert waiting.take_all() == [made[2]]
        waiting.tick(6.0)
        assert made[2].heard == ["again"]

    def test_those_who_are_held_take_turns(self) -> None:
        waiting = Waiting(1000)
        made = [Sleeper(str(n), b"t") for n in range(300)]
        for each in made:
            waiting.hold(each)
        waiting.tick(1.0)
        for each in made[:256]:
            waiting.hold(each)
        waiting.tick(2.0)
        assert all(each.heard for each in made)

    def test_who_is_woken_knows_whose_it_is_otherwise(self) -> None:
        waiting = Waiting(10)
        calls = [Sleeper(name, b"g" + name.encode(), b"g", b"s") for name in ("a", "b", "c")]
        for each in calls:
            waiting.park(each)
        for topic in (b"ga", b"g", b"s"):
            waiting.wake({topic: 1})
        assert [each.line for each in calls] == [b"ga", b"g", b"g"]

    def test_no_more_are_looked_at_than_are_woken(self) -> None:
        waiting = Waiting(100)
        made = [Looked(str(n), b"t") for n in range(100)]
        for each in made:
            waiting.park(each)
        waiting.wake({b"t": 1})
        assert sum(each.looks for each in made) <= 2

    def test_nothing_is_owed_under_the_next_leader(self) -> None:
        waiting = Waiting(10)
        waiting.wake_later(b"t")
        waiting.take_all()
        made = sleepers(waiting, 1)
        waiting.tick(1.0)
        assert made[0].order == []

    def test_calls_that_come_and_go_leave_nothing(self) -> None:
        waiting = Waiting(10)
        for number in range(5000):
            call = Sleeper(str(number), b"t%d" % number, b"s")
            waiting.park(call)
            waiting.cancel(call)
        size = sum(len(vars(waiting)[name]) for name in ("_ends", "_parked", "_followers"))
        assert size < 1500

    def test_a_new_leader_gets_them_in_order(self) -> None:
        waiting = Waiting(10)
        made = sleepers(waiting, 3)
        waiting.wake({b"t": 1})
        waiting.park(made[0])
        assert waiting.take_all() == made
        assert len(waiting) == 0


@pytest.fixture
def cluster() -> SmallCluster:
    return SmallCluster()


def not_found(answer: object) -> bool:
    return isinstance(answer, Refusal) and answer.reason is Reason.NOT_FOUND


def calls_waiting(cluster: SmallCluster) -> int:
    nodes = cluster.nodes.values()
    return sum(len(each.waiting) for node in nodes for each in node.partitions.values())


def start(cluster: SmallCluster, body: Body, node: int = 1) -> Answers:
    answers = cluster.start(body, node=node)
    cluster.settle()
    return answers


@pytest.mark.parametrize("node", [1, 2], ids=["at the leader", "at another node"])
class TestWaitingGet:
    def test_one_that_exists_is_answered_at_once(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(KvPut(NS, b"k", b"v"))
        assert start(cluster, KvGet(NS, b"k", 1000), node).answer == Value(1, b"v")

    def test_it_is_woken_by_the_put(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, KvGet(NS, b"k", 1000), node)
        cluster.run(KvPut(NS, b"other", b"v"))
        assert not answers.given
        cluster.run(KvPut(NS, b"k", b"v"))
        assert answers.answer in (Value(1, b"v"), Value(2, b"v"))

    def test_its_time_ends(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, KvGet(NS, b"k", 1000), node)
        cluster.tick(0.9)
        assert not answers.given
        cluster.tick(0.2)
        assert not_found(answers.answer)
        cluster.tick(100)
        assert len(answers.given) == 1

    def test_a_change_is_awaited_though_the_key_exists(
        self, cluster: SmallCluster, node: int
    ) -> None:
        cluster.run(KvPut(NS, b"k", b"1"))
        answers = start(cluster, KvGet(NS, b"k", 1000, wait_for_change=True), node)
        assert not answers.given
        cluster.run(KvDelete(NS, b"k"))
        assert not answers.given
        cluster.run(KvPut(NS, b"k", b"2"))
        assert answers.answer == Value(3, b"2")

    def test_a_cancelled_one_leaves_nothing(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, KvGet(NS, b"k", 1000), node)
        assert answers.call is not None
        answers.call.cancel()
        cluster.settle()
        assert calls_waiting(cluster) == 0
        assert [each.dispatcher.unanswered for each in cluster.nodes.values()] == [0, 0]
        cluster.run(KvPut(NS, b"k", b"v"))
        assert not answers.given

    def test_a_client_that_stops_writing_waits_no_longer(
        self, cluster: SmallCluster, node: int
    ) -> None:
        answers = start(cluster, KvGet(NS, b"k", 1000), node)
        assert answers.call is not None
        answers.call.stop_waiting()
        cluster.settle()
        assert not_found(answers.answer)
        # Nor does it at another node: it would be given what nobody hears of.
        assert calls_waiting(cluster) == 0

    def test_too_many_are_refused(self, node: int) -> None:
        cluster = SmallCluster(limits=Limits(partition_waiting_max=2))
        waiting = [start(cluster, KvGet(NS, b"k", 1000), node) for _ in range(3)]
        answer = waiting[2].answer
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.ran) == (Reason.TOO_MANY_WAITERS, Ran.NO)
        cluster.run(KvPut(NS, b"k", b"v"))
        assert [each.answer for each in waiting[:2]] == [Value(1, b"v")] * 2

    def test_too_many_at_a_node_are_refused_and_others_are_not(self, node: int) -> None:
        cluster = SmallCluster(limits=Limits(waiting_max=2))
        waiting = [start(cluster, KvGet(NS, b"k%d" % n, 1000), node) for n in range(3)]
        answer = waiting[2].answer
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.ran) == (Reason.TOO_MANY_WAITERS, Ran.NO)
        assert isinstance(cluster.run(KvPut(NS, b"k0", b"v"), node=node), Stored)
        cluster.tick(1.1)
        assert not start(cluster, KvGet(NS, b"k9", 1000), node).given

    def test_it_finds_the_next_leader(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, KvGet(NS, b"k", 1000), node)
        partition = partition_of(NS, b"k", 4)
        owner = cluster.nodes[cluster.replicas[partition][0]]
        # As after a hand-over that came back.
        for call in owner.partitions[partition].waiting.take_all():
            call.on_not_leader(owner.node_id)
        cluster.tick()
        assert not answers.given
        cluster.run(KvPut(NS, b"k", b"v"))
        assert answers.answer == Value(1, b"v")


def test_a_key_that_expires_while_it_is_awaited_is_no_answer(cluster: SmallCluster) -> None:
    cluster.run(KvPut(NS, b"k", b"1", ttl_ms=100))
    answers = start(cluster, KvGet(NS, b"k", 5000, wait_for_change=True))
    cluster.tick(1.0)
    assert not answers.given
    cluster.run(KvPut(NS, b"k", b"2"))
    assert isinstance(answers.answer, Value)


def test_a_wait_in_a_clients_session_uses_no_sequence_of_it(cluster: SmallCluster) -> None:
    opened = cluster.run(OpenSession(0))
    assert isinstance(opened, SessionOpened)
    context = CallContext(session=opened.session, sequence=1, floor=1)
    answers = cluster.start(KvGet(NS, b"k", 1000), context=context)
    cluster.settle()
    assert not answers.given
