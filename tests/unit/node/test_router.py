"""From a request to its answer: by one key, over several partitions, or at the node."""

from typing import cast

import pytest

from cluster.config import Limits
from cluster.operation import Answer, to_answer
from cluster.operations import OPERATIONS
from flo.wire.answers import encode_answer
from flo.wire.group_messages import (
    GroupAck,
    GroupClaim,
    GroupConfigure,
    GroupCreate,
    GroupDelete,
    GroupInfo,
    GroupJoin,
    GroupLeave,
    GroupNack,
    GroupPending,
    GroupRead,
    GroupTouch,
)
from flo.wire.kv_messages import (
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnRollback,
)
from flo.wire.messages import (
    Body,
    CallContext,
    ClusterStatus,
    ClusterStatusRequest,
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
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    SessionOpened,
    Stored,
    Value,
    ValueEntry,
    Values,
)
from flo.wire.op import Op
from flo.wire.queue_messages import (
    QueueAck,
    QueueConfigure,
    QueueDequeue,
    QueueDlqList,
    QueueDlqPurge,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueueNack,
    QueuePeek,
    QueuePurge,
    QueueStats,
    QueueTouch,
)
from flo.wire.registry import OPS
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import (
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamId,
    StreamInfo,
    StreamItem,
    StreamList,
    StreamRead,
    StreamTrim,
)
from tests.unit.node.small_cluster import SmallCluster
from tests.unit.wire.vectors import OWN_REQUESTS, SERVED_REQUESTS, request_of

NS = b"default"
BODIES: dict[int, Body] = {
    0x000: Ping(),
    0x100: KvPut(NS, b"k", b"v"),
    0x101: KvGet(NS, b"k"),
    0x102: KvMget(NS, (b"k",)),
    0x103: KvDelete(NS, b"k"),
    0x104: KvScan(NS, b""),
    0x105: KvHistory(NS, b"k"),
    0x10B: KvIncr(NS, b"n"),
    0x10C: KvJsonGet(NS, b"k"),
    0x110: TxnBegin(NS, b"k"),
    0x111: TxnCommit(NS, None, 0),
    0x112: TxnRollback(NS, None, 0),
    0x10D: KvJsonSet(NS, b"k", b"", b"{}"),
    0x10E: KvJsonDelete(NS, b"k"),
    0x113: KvExpire(NS, b"k", 0),
    0x114: KvExpire(NS, b"k", 0),
    0x115: KvExists(NS, b"k"),
    0xF000: PartitionTableRequest(),
    0xF001: OpenSession(0),
    0xF003: ClusterStatusRequest(),
    0x130: StreamAppend(NS, b"s", (StreamItem(b"m"),)),
    0x131: StreamRead(NS, b"s"),
    0x132: StreamTrim(NS, b"s", max_len=1),
    0x133: StreamInfo(NS, b"s"),
    0x13B: StreamList(NS),
    0x13D: StreamCreate(NS, b"s"),
    0x13F: StreamAlter(NS, b"s"),
    0x140: StreamDelete(NS, b"s", force=True),
    0x150: GroupCreate(NS, b"s", b"g"),
    0x151: GroupJoin(NS, b"s", b"g", b"c"),
    0x152: GroupLeave(NS, b"s", b"g", b"c"),
    0x153: GroupRead(NS, b"s", b"g", b"c"),
    0x154: GroupAck(NS, b"s", b"g", b"c", (StreamId(1, 1),)),
    0x155: GroupClaim(NS, b"s", b"g", b"c", 0),
    0x156: GroupPending(NS, b"s", b"g"),
    0x159: GroupNack(NS, b"s", b"g", b"c", (StreamId(1, 1),)),
    0x15A: GroupTouch(NS, b"s", b"g", b"c", (StreamId(1, 1),)),
    0x15B: GroupInfo(NS, b"s", b"g"),
    0x15C: GroupDelete(NS, b"s", b"g"),
    0xF020: GroupConfigure(NS, b"s", b"g"),
    0x170: QueueEnqueue(NS, b"q", b"m"),
    0x171: QueueDequeue(NS, b"q"),
    0x172: QueueAck(NS, b"q", (1,)),
    0x174: QueueNack(NS, b"q", (1,)),
    0x176: QueueDlqList(NS, b"q"),
    0x178: QueueDlqRequeue(NS, b"q", (1,)),
    0x17B: QueueStats(NS, b"q"),
    0x17C: QueuePeek(NS, b"q"),
    0x17D: QueueTouch(NS, b"q", (1,)),
    0x17F: QueuePurge(NS, b"q"),
    0x198: QueueList(NS),
    0xF002: QueueEnqueueBatch(NS, b"q", (QueueItem(b"m"),)),
    0xF010: QueueDlqPurge(NS, b"q"),
    0xF011: QueueConfigure(NS, b"q"),
}


@pytest.fixture
def cluster() -> SmallCluster:
    """Four partitions, led by nodes 1 and 2 in turn; requests come to node 1."""
    return SmallCluster()


def key_in(partition: int, *, count: int = 4, start: bytes = b"") -> bytes:
    """A key that lives in a partition."""
    keys = (start + b"%d" % number for number in range(1000))
    return next(key for key in keys if partition_of(NS, key, count) == partition)


def values(answer: Answer) -> Values:
    assert isinstance(answer, Values)
    return answer


def refusal(answer: Answer) -> tuple[Reason, Ran]:
    assert isinstance(answer, Refusal)
    return answer.reason, answer.ran


@pytest.mark.parametrize("code", BODIES)
def test_operations_of_the_registry_are_served(cluster: SmallCluster, code: int) -> None:
    op = OPS[code]
    body = BODIES[code]
    assert type(body) is op.request
    cluster.run(KvPut(NS, b"k", b"7"))
    cluster.run(GroupJoin(NS, b"s", b"g", b"c"))
    if isinstance(body, TxnCommit | TxnRollback):
        begun = cluster.run(TxnBegin(NS, b"k"))
        assert isinstance(begun, TxnBegun)
        body = body._replace(txn=begun.txn)
    answer = cluster.run(body)
    assert type(answer) is op.result
    if op.routing in ("key", "stream"):
        assert OPERATIONS[op.code].is_write == (op.kind == "write")
    for revision, codec in ((1, op.v1), (2, op.v2)):
        if codec is not None:
            assert encode_answer(revision, 1, op, answer)


def test_no_operation_is_served_that_the_registry_does_not_know(cluster: SmallCluster) -> None:
    """Rows and methods that no request can reach."""
    assert all(OPS[code].routing in ("key", "stream") for code in OPERATIONS)
    others = set(vars(cluster.nodes[1].router)["_others"])
    served = {op.request for op in OPS.values() if op.code in BODIES}
    assert others == served - {OPS[code].request for code in OPERATIONS}
    assert set(OPERATIONS) <= set(BODIES), "give this test a request of the new operation"


@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if op.code not in BODIES], ids=lambda op: cast(Op, op).name
)
def test_an_operation_that_no_node_serves_is_refused(cluster: SmallCluster, op: Op) -> None:
    vector = next(v for v in (*SERVED_REQUESTS, *OWN_REQUESTS) if v.code == op.code)
    assert refusal(cluster.run(request_of(vector))) == (Reason.UNKNOWN_OP, Ran.NO)


@pytest.mark.parametrize("prefix", [b"_action:", b"_worker:", b"_sys:", b"_internal:", b"_flo:"])
def test_reserved_keys_are_not_served(cluster: SmallCluster, prefix: bytes) -> None:
    key = prefix + b"x"
    bodies: list[Body] = [
        KvPut(NS, key, b"v"),
        KvGet(NS, key),
        KvDelete(NS, key),
        KvIncr(NS, key),
        KvExpire(NS, key, 1),
        KvExists(NS, key),
    ]
    for body in bodies:
        assert refusal(cluster.run(body)) == (Reason.RESERVED_KEY, Ran.NO)
    assert values(cluster.run(KvMget(NS, (key,)))).entries == (ValueEntry(key, False, 0, b""),)
    assert cluster.run(KvScan(NS, prefix)) == Page((), None)


def test_a_key_that_only_resembles_a_reserved_one_is_served(cluster: SmallCluster) -> None:
    assert cluster.run(KvPut(NS, b"_system:x", b"v")) == Stored(1)


@pytest.mark.parametrize(
    "body",
    [
        KvPut(NS, b"k", b"v", txn=3),
        KvGet(NS, b"k", txn=3),
        KvGet(NS, b"k", wait_ms=1000, txn=3),
        KvDelete(NS, b"k", txn=3),
        KvIncr(NS, b"k", txn=3),
        KvExpire(NS, b"k", 1, txn=3),
        KvExists(NS, b"k", txn=3),
    ],
)
def test_there_are_no_transactions(cluster: SmallCluster, body: Body) -> None:
    assert refusal(cluster.run(body)) == (Reason.NO_SUCH_TRANSACTION, Ran.NO)


def test_a_routing_key_does_not_move_the_key(cluster: SmallCluster) -> None:
    cluster.run(KvPut(NS, b"k", b"v", routing_key=b"elsewhere"))
    assert cluster.run(KvGet(NS, b"k")) == Value(1, b"v")


def test_namespaces_are_apart(cluster: SmallCluster) -> None:
    cluster.run(KvPut(b"one", b"k", b"v"))
    assert refusal(cluster.run(KvGet(b"two", b"k"))) == (Reason.NOT_FOUND, Ran.NO)
    assert cluster.run(KvScan(b"two", b"")) == Page((), None)


# --- mget ---


def test_mget_keeps_order_and_duplicates_over_all_partitions(cluster: SmallCluster) -> None:
    keys = [key_in(partition) for partition in range(4)]
    for key in keys:
        cluster.run(KvPut(NS, key, b"of " + key))
    wanted = (keys[3], b"missing", keys[0], keys[3], b"_sys:x", keys[1], keys[2], keys[0])
    entries = values(cluster.run(KvMget(NS, wanted))).entries
    assert [entry.key for entry in entries] == list(wanted)
    for entry in entries:
        found = entry.key in keys
        assert entry == (entry.key, found, 1 if found else 0, b"of " + entry.key if found else b"")


def test_mget_of_reserved_keys_alone_asks_nobody(cluster: SmallCluster) -> None:
    answers = cluster.start(KvMget(NS, (b"_sys:a", b"_flo:b")))
    assert [entry.found for entry in values(answers.answer).entries] == [False, False]


@pytest.mark.parametrize("spread", [False, True])
def test_v2_mget_says_where_to_go_on(spread: bool) -> None:
    cluster = SmallCluster(limits=Limits(scan_page_bytes_max=2_000))
    keys = tuple(b"%s%d" % (b"" if spread else b"{one}", n) for n in range(10))
    for key in keys:
        cluster.run(KvPut(NS, key, bytes(700)))
    wanted: tuple[bytes, ...] = keys
    answered: list[bytes] = []
    for _ in range(len(keys)):
        answer = values(cluster.run(KvMget(NS, wanted), revision=2))
        assert all(entry.found for entry in answer.entries)
        answered += [entry.key for entry in answer.entries]
        assert sum(len(entry.value) for entry in answer.entries) <= 2_000
        if answer.next_index is None:
            break
        assert answer.next_index == len(answer.entries) >= 1
        wanted = wanted[answer.next_index :]
    assert answered == list(keys)


def test_v2_mget_answers_one_value_of_any_size() -> None:
    cluster = SmallCluster(limits=Limits(scan_page_bytes_max=100))
    cluster.run(KvPut(NS, b"big", bytes(500)))
    answer = values(cluster.run(KvMget(NS, (b"big", b"big", b"missing")), revision=2))
    assert [len(entry.value) for entry in answer.entries] == [500]
    assert answer.next_index == 1


@pytest.mark.parametrize("spread", [False, True])
def test_v1_mget_answers_everything_or_nothing(spread: bool) -> None:
    cluster = SmallCluster(limits=Limits(answer_bytes_max=2_000))
    keys = tuple(b"%s%d" % (b"" if spread else b"{one}", n) for n in range(4))
    for key in keys:
        cluster.run(KvPut(NS, key, bytes(600)))
    assert len(values(cluster.run(KvMget(NS, keys[:3]))).entries) == 3
    assert refusal(cluster.run(KvMget(NS, keys))) == (Reason.FIELD_TOO_LONG, Ran.NO)


@pytest.mark.parametrize("body", [KvMget(NS, tuple(b"%d" % n for n in range(40))), KvScan(NS, b"")])
def test_a_partition_without_a_leader_refuses_the_whole(body: Body) -> None:
    cluster = SmallCluster()
    for partition in (1, 3):
        cluster.nodes[2].partitions[partition].broken = "it"
    answers = cluster.start(body)
    cluster.settle()
    assert not answers.given
    cluster.tick(6.0)
    assert refusal(answers.answer) == (Reason.LEADER_UNKNOWN, Ran.NO)


def test_a_busy_partition_refuses_the_whole_at_once() -> None:
    cluster = SmallCluster(limits=Limits(partition_commands_max=1))
    answers = [cluster.start(KvScan(NS, b"")) for _ in range(3)]
    cluster.settle()
    assert answers[0].answer == Page((), None)
    assert refusal(answers[2].answer) == (Reason.SHARD_BUSY, Ran.NO)


def test_parts_of_answers_that_take_too_much_memory_are_refused_as_not_run() -> None:
    cluster = SmallCluster(limits=Limits(answers_bytes_max=10_000))
    keys = tuple(b"k%d" % number for number in range(16))
    for key in keys:
        cluster.run(KvPut(NS, key, bytes(400)))
    answers = [cluster.start(KvMget(NS, keys)) for _ in range(3)]
    cluster.settle()
    given = [each.answer for each in answers]
    assert any(isinstance(each, Values) for each in given)
    refused = [each for each in given if not isinstance(each, Values)]
    assert refused
    assert {refusal(each) for each in refused} == {(Reason.SHARD_BUSY, Ran.NO)}
    assert isinstance(cluster.run(KvMget(NS, keys)), Values), "there is room again"


# --- scan ---


def filled(cluster: SmallCluster, count: int) -> list[bytes]:
    keys = [b"k%04d" % number for number in range(count)]
    for key in keys:
        cluster.run(KvPut(NS, key, b"v" + key))
    return keys


def test_a_scan_merges_local_and_remote_partitions(cluster: SmallCluster) -> None:
    keys = filled(cluster, 30)
    assert len({partition_of(NS, key, 4) for key in keys}) == 4
    page = cluster.run(KvScan(NS, b"k"))
    assert page == Page(tuple(PageEntry(key, b"v" + key) for key in keys), None)


@pytest.mark.parametrize(("revision", "most"), [(1, 100), (2, 1024)])
def test_a_page_has_the_revisions_usual_size(revision: int, most: int) -> None:
    cluster = SmallCluster(owners=(1, 1))
    filled(cluster, 1030)
    page = cluster.run(KvScan(NS, b""), revision=revision)
    assert isinstance(page, Page)
    assert len(page.entries) == most
    assert page.cursor is not None


def test_v2_and_keys_only_pages_have_no_values(cluster: SmallCluster) -> None:
    filled(cluster, 3)
    for page in (
        cluster.run(KvScan(NS, b""), revision=2),
        cluster.run(KvScan(NS, b"", keys_only=True)),
    ):
        assert isinstance(page, Page)
        assert [entry.value for entry in page.entries] == [b""] * 3


LONG_KEYS = [b"%s%d" % (b"long" * 200, number) for number in range(5)]


def test_a_v1_cursor_of_a_long_key_continues_at_every_node(cluster: SmallCluster) -> None:
    for key in LONG_KEYS:
        cluster.run(KvPut(NS, key, b"v"))
    page = cluster.run(KvScan(NS, b"", 2))
    assert isinstance(page, Page)
    rest = cluster.run(KvScan(NS, b"", None, page.cursor or b""), node=2)
    assert isinstance(rest, Page)
    assert [entry.key for entry in (*page.entries, *rest.entries)] == LONG_KEYS


def test_a_v2_cursor_of_a_long_key_continues_at_its_node(cluster: SmallCluster) -> None:
    for key in LONG_KEYS:
        cluster.run(KvPut(NS, key, b"v"))
    found: list[bytes] = []
    cursor = b""
    while True:
        page = cluster.run(KvScan(NS, b"", 2, cursor), revision=2)
        assert isinstance(page, Page)
        found += [entry.key for entry in page.entries]
        if page.cursor is None:
            break
        cursor = page.cursor
        assert len(cursor) <= 64
        elsewhere = cluster.run(KvScan(NS, b"", 2, cursor), node=2, revision=2)
        assert refusal(elsewhere) == (Reason.MALFORMED, Ran.NO)
    assert found == LONG_KEYS


def test_a_malformed_cursor_is_refused(cluster: SmallCluster) -> None:
    assert refusal(cluster.run(KvScan(NS, b"", 2, b"?x"))) == (Reason.MALFORMED, Ran.NO)


# --- at the node ---


def test_the_node_answers_what_is_about_itself(cluster: SmallCluster) -> None:
    assert cluster.start(Ping()).answer == Pong()
    assert cluster.start(PartitionTableRequest()).answer == PartitionTable(9, ())
    status = cluster.start(ClusterStatusRequest(3, digest=True)).answer
    assert status == ClusterStatus(b"status 3 True")


@pytest.mark.parametrize("body", [ClusterStatusRequest(4), OpenSession(4)])
def test_a_partition_that_does_not_exist_is_out_of_range(cluster: SmallCluster, body: Body) -> None:
    assert refusal(cluster.run(body)) == (Reason.OUT_OF_RANGE, Ran.NO)


def test_a_session_of_a_client_deduplicates_its_commands(cluster: SmallCluster) -> None:
    key = key_in(1)
    opened = cluster.run(OpenSession(1))
    assert isinstance(opened, SessionOpened)
    context = CallContext(opened.session, 1, 1)
    first = cluster.run(KvIncr(NS, key), context=context)
    assert cluster.run(KvIncr(NS, key), node=2, context=context) == first
    assert cluster.run(KvIncr(NS, key), context=context._replace(sequence=2)) != first
    late = cluster.run(KvIncr(NS, key), context=CallContext(opened.session, 1, 2))
    assert isinstance(late, Refusal)
    lost = cluster.run(KvIncr(NS, key), context=CallContext(999, 1, 1))
    assert refusal(lost) == (Reason.SESSION_UNKNOWN, Ran.NO)


def test_two_sessions_are_not_the_same(cluster: SmallCluster) -> None:
    assert cluster.run(OpenSession(0)) != cluster.run(OpenSession(0))


# --- answers of another version ---


def test_a_code_that_this_version_does_not_know_leaves_the_outcome_open() -> None:
    answer = to_answer(OPERATIONS[0x100], (444, 1))
    assert refusal(answer) == (Reason.UNCLASSIFIED, Ran.UNKNOWN)


@pytest.mark.parametrize("code", OPERATIONS)
@pytest.mark.parametrize("result", [(0,), (0, 1), (0, b"x", None, 3, 4), (0, None)])
def test_a_kept_result_of_another_operation_is_no_mistake_of_ours(
    code: int, result: tuple[object, ...]
) -> None:
    """A client that uses a sequence for two operations gets the first one's result for both."""
    to_answer(OPERATIONS[code], result)


def test_a_sequence_used_for_two_operations_is_refused() -> None:
    answer = to_answer(OPERATIONS[0x10B], (0, 7))
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.ran) == (Reason.CONFLICTING_FIELDS, Ran.NO)


def test_what_several_partitions_answer_at_once_is_answered_once() -> None:
    """Stale reads are answered while they are asked."""
    cluster = SmallCluster(owners=(1, 1, 1, 1), nodes=(1,))
    cluster.run(KvPut(NS, b"k", b"v"))
    stale = CallContext(stale=True)
    for body in (KvScan(NS, b""), KvMget(NS, (b"k", b"l", b"m", b"n"))):
        assert len(cluster.start(body, context=stale).given) == 1
