"""Calls between nodes: what travels, what is refused, and what a lost link means."""

from typing import cast

import pytest

from cluster.config import Limits
from cluster.forwarding import FORWARD, FORWARD_CANCEL, FORWARD_REPLY, FORWARD_STOP, Forwarding
from cluster.queries import WAIT_GET
from cluster.raft.messages import MalformedMessageError
from cluster.state.commands import DELETE, EXPIRE, INCR, OPEN_SESSION, PUT
from cluster.state.group_commands import GROUP_READ
from cluster.state.queue_commands import DEQUEUE
from flo.wire.messages import (
    Body,
    CallContext,
    Counter,
    Deleted,
    Done,
    Exists,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvIncr,
    KvMget,
    KvPut,
    KvScan,
    OpenSession,
    Page,
    PageEntry,
    SessionOpened,
    Stored,
    Value,
    ValueEntry,
    Values,
)
from flo.wire.queue_messages import QueueDequeue
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.kit import (
    Calls,
    FakeNetwork,
    FakePartition,
    as_partitions,
    packed_and_back,
    session,
)
from tests.unit.node.small_cluster import SmallCluster

RESULT, NOT_LEADER, UNKNOWN = 0, 1, 2
READ, WRITE, STALE, WAIT = 0, 1, 2, 3
TRIPLE = [5, 9, 8]


class Receiver:
    """Node 2, which is asked by node 1 and leads partition 0."""

    def __init__(self) -> None:
        self.network = FakeNetwork(1)
        self.partition = FakePartition(0, 2)
        self.partition.group.leader = 2
        self.turns: list[object] = []
        self.flushes: list[None] = []
        self.forwarding = Forwarding(
            self.network,
            as_partitions({0: self.partition}),
            flush_soon=lambda: self.flushes.append(None),
            request_turn=self.turns.append,
        )

    def receive(self, *message: object) -> None:
        self.forwarding.receive(1, packed_and_back(list(message)))

    @property
    def asked_nothing(self) -> bool:
        return not self.partition.take() and not self.turns


# --- round trips ---

NS = b"default"
OPERATIONS: list[tuple[Body, object]] = [
    (KvPut(NS, b"k", b"\x00\xff", 60_000), Stored(2)),
    (KvPut(NS, b"new", b"v", None, True), Stored(2)),
    (KvPut(NS, b"k", b"v", None, False, True, 1), Stored(2)),
    (KvGet(NS, b"k"), Value(1, b"old")),
    (KvDelete(NS, b"k", 1), Deleted(True)),
    (KvDelete(NS, b"missing"), Deleted(False)),
    (KvIncr(NS, b"count", -3), Counter(2, -3)),
    (KvExpire(NS, b"k", 1000, 1), Done()),
    (KvExists(NS, b"k"), Exists(True, 1)),
    (KvExists(NS, b"missing"), Exists(False, 0)),
    (
        KvMget(NS, (b"k", b"missing")),
        Values((ValueEntry(b"k", True, 1, b"old"), ValueEntry(b"missing", False, 0, b""))),
    ),
    (KvScan(NS, b""), Page((PageEntry(b"k", b"old"),), None)),
]
REFUSED: list[tuple[Body, Reason, str]] = [
    (KvGet(NS, b"missing"), Reason.NOT_FOUND, "no such key"),
    (KvPut(NS, b"k", b"v", cas=9), Reason.CAS_MISMATCH, "the version is 1"),
    (KvPut(NS, b"k", b"v", if_absent=True), Reason.CONDITION_FAILED, "the key exists"),
    (KvPut(NS, b"z", b"v", if_present=True), Reason.CONDITION_FAILED, "the key does not exist"),
    (KvIncr(NS, b"k"), Reason.WRONG_TYPE, "the value is no counter: it is not 8 bytes long"),
]


@pytest.mark.parametrize("node", [1, 2])
def test_sessions_are_opened_at_every_node(node: int) -> None:
    cluster = SmallCluster(owners=(2,))
    first, second = (cluster.run(OpenSession(0), node=node) for _ in range(2))
    assert isinstance(first, SessionOpened)
    assert second == SessionOpened(first.session + 1)


@pytest.mark.parametrize("node", [1, 2])
@pytest.mark.parametrize(("body", "answer"), OPERATIONS)
def test_an_operation_has_the_same_answer_at_every_node(
    body: Body, answer: object, node: int
) -> None:
    """Node 2 leads the only partition, node 1 forwards to it."""
    cluster = SmallCluster(owners=(2,))
    cluster.run(KvPut(NS, b"k", b"old"), node=node)
    assert cluster.run(body, node=node) == answer


@pytest.mark.parametrize("node", [1, 2])
@pytest.mark.parametrize(("body", "reason", "message"), REFUSED)
def test_a_refusal_is_the_same_at_every_node(
    body: Body, reason: Reason, message: str, node: int
) -> None:
    cluster = SmallCluster(owners=(2,))
    cluster.run(KvPut(NS, b"k", b"old"), node=node)
    assert cluster.run(body, node=node) == Refusal(reason, Ran.NO, message)


def test_a_stale_read_of_another_node_is_served() -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, STALE, 0x101, TRIPLE, [b"ns", b"k"])
    (asked,) = receiver.partition.stale_reads
    asked.waiter.on_result((0, 1, b"v"))
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, RESULT, [0, 1, b"v"]])]


# --- at the node that is asked ---


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (PUT, [b"ns", b"k", b"v", 0, 0, None]),
        (PUT, [b"ns", b"k", b"v", 0, 0, 7]),
        (DELETE, [b"ns", b"k", None]),
        (INCR, [b"ns", b"k", -1]),
        (EXPIRE, [b"ns", b"k", 5, 7]),
        (OPEN_SESSION, [12345]),
    ],
)
def test_a_command_arrives_as_it_was_sent(code: int, args: list[object]) -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, WRITE, code, TRIPLE, args)
    (asked,) = receiver.partition.writes
    assert asked.content == (code, *TRIPLE, *args)
    assert receiver.partition.sizes == [sum(len(arg) for arg in args if isinstance(arg, bytes))]
    assert receiver.turns == [receiver.partition]
    asked.waiter.on_result((0, 4))
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, RESULT, [0, 4]])]
    assert receiver.flushes


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (0x7777, [b"ns", b"k"]),
        (0x101, [b"ns", b"k"]),
        (PUT, [b"ns", b"k", b"v", 0, 0]),
        (PUT, [b"ns", b"k", "text", 0, 0, None]),
        (PUT, [b"ns", b"k", b"v", 0, 0, b""]),
        (PUT, [b"ns", [b"k"], b"v", 0, 0, None]),
        (INCR, [b"ns", b"k", None]),
        (OPEN_SESSION, []),
    ],
)
def test_a_command_of_another_version_never_enters_the_log(code: int, args: list[object]) -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, WRITE, code, TRIPLE, args)
    assert receiver.asked_nothing
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, RESULT, [Reason.UNKNOWN_OP]])]


@pytest.mark.parametrize("mode", [READ, STALE])
@pytest.mark.parametrize(
    ("code", "args"),
    [
        (0x7777, []),
        (PUT, [b"ns", b"k", b"v", 0, 0, None]),
        (0x101, [b"ns"]),
        (0x101, [b"ns", "text"]),
        (0x102, [b"ns", b"keys", 10]),
        (0x102, [b"ns", [b"k", 5], 10]),
        (0x102, [b"ns", [b"k"]]),
        (0x104, [b"ns", b"", b"", 0, 100, True]),
        (0x104, [b"ns", b"", b"", -1, 100, True]),
        (0x104, [b"ns", b"", b"", 10, 100, None]),
        (0x115, [None, b"k"]),
    ],
)
def test_a_read_of_another_version_is_refused(mode: int, code: int, args: list[object]) -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, mode, code, TRIPLE, args)
    assert receiver.asked_nothing
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, RESULT, [Reason.UNKNOWN_OP]])]


GOOD: list[object] = [FORWARD, 0, 1, WRITE, PUT, TRIPLE, [b"ns", b"k", b"v", 0, 0, None]]


@pytest.mark.parametrize(
    "message",
    [
        GOOD[:6],
        [*GOOD, 0],
        [FORWARD],
        [FORWARD, [0], *GOOD[2:]],
        [FORWARD, None, *GOOD[2:]],
        [*GOOD[:2], b"id", *GOOD[3:]],
        [*GOOD[:3], 5, *GOOD[4:]],
        [*GOOD[:3], [], *GOOD[4:]],
        [*GOOD[:4], [PUT], *GOOD[5:]],
        [*GOOD[:4], {}, *GOOD[5:]],
        [*GOOD[:5], None, GOOD[6]],
        [*GOOD[:5], [1, 2], GOOD[6]],
        [*GOOD[:5], [1, 2, 3, 4], GOOD[6]],
        [*GOOD[:6], b"args"],
        [*GOOD[:6], {}],
        [FORWARD_REPLY],
        [FORWARD_CANCEL],
        [FORWARD_CANCEL, 0, b"1"],
        [FORWARD_STOP, 0],
        [FORWARD_REPLY, 0, 1, RESULT],
        [FORWARD_REPLY, 0, [1], RESULT, [0]],
        [FORWARD_REPLY, 0, None, RESULT, [0]],
    ],
)
def test_a_message_of_another_shape_is_told_apart(message: list[object]) -> None:
    receiver = Receiver()
    with pytest.raises(MalformedMessageError):
        receiver.receive(*message)
    assert receiver.asked_nothing
    assert not receiver.network.sent


def test_a_node_without_the_partition_says_so() -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 6, *GOOD[2:])
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 6, 1, NOT_LEADER, 0])]


def test_a_node_that_does_not_lead_names_the_leader() -> None:
    receiver = Receiver()
    receiver.partition.group.leader = 3
    receiver.receive(*GOOD)
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, NOT_LEADER, 3])]


def test_an_answer_for_a_node_that_is_gone_goes_nowhere() -> None:
    receiver = Receiver()
    receiver.receive(*GOOD)
    receiver.network.peers.clear()
    receiver.partition.take()[0].waiter.on_result((0, 1))
    assert not receiver.network.sent
    assert not receiver.flushes


# --- at the node that asks ---


def test_a_lost_peer_makes_each_call_unknown_once() -> None:
    calls = Calls()
    calls.lead(2)
    write, read = calls.write(context=session(1)), calls.read()
    sent = calls.network.take()
    calls.lose_peer(2)
    calls.forwarding.peer_lost(2)
    calls.find_peer(2)
    again = calls.network.take()
    assert [message[3:] for _, message in again] == [message[3:] for _, message in sent]
    for _, message in sent:
        calls.reply(2, message[2], RESULT, [0, 1])
    assert not write.outcomes
    assert not read.outcomes
    for _, message in again:
        calls.reply(2, message[2], RESULT, [0, 2])
    assert write.outcome == read.outcome == (0, 2)


def test_only_the_node_that_was_asked_can_answer() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.read()
    ((_, message),) = calls.network.take()
    calls.reply(3, message[2], RESULT, [0, 3])
    assert not said.outcomes
    calls.reply(2, message[2], RESULT, [0, 2])
    calls.reply(2, message[2], RESULT, [0, 9])
    assert said.outcome == (0, 2)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (RESULT, []),
        (RESULT, [b"x"]),
        (RESULT, [[0]]),
        (RESULT, b""),
        (RESULT, None),
        (NOT_LEADER, b"2"),
        (UNKNOWN, 0),
        (9, 0),
        ([], 0),
    ],
)
def test_an_answer_that_makes_no_sense_leaves_the_outcome_open(
    kind: object, content: object
) -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.write(context=session(1))
    ((_, message),) = calls.network.take()
    calls.forwarding.receive(2, packed_and_back([FORWARD_REPLY, 0, message[2], kind, content]))
    assert not said.outcomes
    calls.tick()
    ((_, again),) = calls.network.take()
    calls.reply(2, again[2], RESULT, [int(Reason.SHARD_BUSY)])
    assert isinstance(said.outcome, Refusal)
    assert said.outcome.ran is Ran.UNKNOWN


def test_a_node_that_never_answers_leaves_nothing_behind() -> None:
    calls = Calls()
    calls.lead(2)
    for number in range(1, 50):
        calls.write(context=session(number))
        calls.read(context=CallContext(deadline_ms=10))
    calls.tick(6.0)
    assert calls.dispatcher.unanswered == 0
    assert not any(vars(calls.forwarding)["_out"].values())


def test_without_a_connection_nothing_is_remembered() -> None:
    calls = Calls()
    calls.network.peers.clear()
    calls.lead(2)
    calls.read()
    assert not any(vars(calls.forwarding)["_out"].values())


def test_what_another_node_asks_for_is_bounded_by_what_a_frame_holds() -> None:
    """The values of an mget, or a page of a scan, travel in one message."""
    cluster = SmallCluster(owners=(2,), limits=Limits(answer_bytes_max=20_000))
    keys = tuple(b"k%d" % n for n in range(256))
    for key in keys:
        cluster.run(KvPut(NS, key, bytes(1000)))
    assert isinstance(cluster.run(KvMget(NS, keys[:20])), Values)
    answers = cluster.start(KvMget(NS, keys))
    largest = 0
    while not answers.given:
        if cluster.on_wire:
            largest = max(largest, sum(_size(part) for part in cluster.on_wire[0][2]))
        cluster.step()
    assert largest < 30_000
    refusal = answers.answer
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.ran) == (Reason.FIELD_TOO_LONG, Ran.NO)


def _size(part: object) -> int:
    if isinstance(part, bytes):
        return len(part)
    return sum(map(_size, cast("list[object]", part))) if isinstance(part, list) else 0


# --- a peer that does not keep up: past its bound the link would be closed ---


def test_a_call_waits_while_the_leader_does_not_keep_up() -> None:
    calls = Calls()
    calls.lead(2)
    calls.network.slow.add(2)
    told: list[object] = []
    calls.dispatcher.read(0, 0x101, (b"ns", b"k"), None, told.append)
    assert calls.network.take() == []
    calls.network.slow.clear()
    calls.dispatcher.tick()
    assert [node for node, _ in calls.network.take()] == [2]
    assert told == []


def test_a_read_is_answered_later_and_a_write_at_once_to_a_node_that_does_not_keep_up() -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, READ, 0x101, TRIPLE, [b"ns", b"k"])
    receiver.receive(FORWARD, 0, 2, WRITE, DELETE, TRIPLE, [b"ns", b"k", None])
    receiver.network.slow.add(1)
    for asked in receiver.partition.take():
        asked.waiter.on_result((0, True, b"x"))
    sent = [message for _, message in receiver.network.take()]
    assert sorted(cast("list[int]", message[2:4]) for message in sent) == [
        [1, UNKNOWN],
        [2, RESULT],
    ]


def test_nothing_is_read_for_a_node_that_does_not_keep_up() -> None:
    receiver = Receiver()
    receiver.network.slow.add(1)
    receiver.receive(FORWARD, 0, 1, READ, 0x101, TRIPLE, [b"ns", b"k"])
    assert receiver.asked_nothing
    ((_, message),) = receiver.network.take()
    assert message[3] == UNKNOWN


def test_calls_on_their_way_to_one_node_are_bounded() -> None:
    calls = Calls(limits=Limits(peer_calls_max=2))
    calls.lead(2)
    said = [calls.write(context=session(number)) for number in range(1, 5)]
    sent = calls.network.take()
    assert len(sent) == 2
    for _, message in sent:
        calls.reply(2, message[2], RESULT, [0, 1])
    calls.tick()
    for _, message in calls.network.take():
        calls.reply(2, message[2], RESULT, [0, 1])
    assert [each.outcome for each in said] == [(0, 1)] * 4


def test_calls_that_wait_leave_the_way_to_others() -> None:
    cluster = SmallCluster(owners=(2,), limits=Limits(peer_calls_max=3))
    waiting = [cluster.start(KvGet(NS, b"missing", 300_000)) for _ in range(5)]
    waiting += [cluster.start(QueueDequeue(NS, b"q", 1, 300_000)) for _ in range(5)]
    for _ in range(4):
        cluster.tick()
    assert len(cluster.nodes[2].partitions[0].waiting) == 10
    assert cluster.run(KvPut(NS, b"k", b"v")) == Stored(1)
    assert cluster.run(KvGet(NS, b"k")) == Value(1, b"v")
    assert not any(each.given for each in waiting)


@pytest.mark.parametrize(
    ("code", "triple", "args"),
    [
        (DEQUEUE, [5, b"9", 100], [b"ns", b"q", 1, 1, 1000]),
        (DEQUEUE, [5, 9, 100], [b"ns", b"q", 1]),
        (PUT, [5, 9, 100], [b"ns", b"k", b"v", 0, 0, None]),
        (0x7777, [5, 9, 100], []),
        (DEQUEUE, [0, 9, 100], [b"ns", b"q", 1, 1, 1000]),
        (GROUP_READ, [5, 9, 100], [b"ns", b"s", b"g", b"c"]),
        (WAIT_GET, [0, 0, 100], []),
        (WAIT_GET, [0, 0, 100], ["ns", "k", False, 0]),
    ],
)
def test_a_wait_of_another_version_is_refused(
    code: int, triple: list[object], args: list[object]
) -> None:
    receiver = Receiver()
    receiver.receive(FORWARD, 0, 1, WAIT, code, triple, args)
    assert receiver.asked_nothing
    assert receiver.network.sent == [(1, [FORWARD_REPLY, 0, 1, RESULT, [Reason.UNKNOWN_OP]])]


def test_a_call_that_found_no_way_in_time_is_refused_as_overload() -> None:
    calls = Calls()
    calls.lead(2)
    calls.network.slow.add(2)
    said = calls.write(context=session(1)), calls.read()
    calls.tick(6.0)
    for each in said:
        assert isinstance(each.outcome, Refusal)
        assert (each.outcome.reason, each.outcome.ran) == (Reason.SHARD_BUSY, Ran.NO)


def test_calls_that_wait_for_a_busy_way_are_bounded() -> None:
    calls = Calls()
    calls.lead(2)
    calls.network.slow.add(2)
    said = [calls.read() for _ in range(1100)]
    refused = [each.outcome for each in said if each.outcomes]
    assert len(refused) == 1100 - 1024
    for each in refused:
        assert isinstance(each, Refusal)
        assert (each.reason, each.ran) == (Reason.SHARD_BUSY, Ran.NO)
