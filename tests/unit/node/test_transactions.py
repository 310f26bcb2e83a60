"""Transactions: what they see, what they refuse, and that all of one is there or nothing."""

from __future__ import annotations

import pytest

from cluster import transactions
from cluster.transactions import (
    IDLE_S,
    OPEN_MAX,
    Budget,
    Transactions,
    make_id,
    partition_of_id,
)
from flo.wire.kv_messages import (
    KvJsonGet,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnCommitted,
    TxnRollback,
)
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
    KvPut,
    OpenSession,
    Result,
    SessionOpened,
    Stored,
    Value,
)
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.small_cluster import SmallCluster

NS = b"default"
TAG = b"{acct}"
A, B = TAG + b"a", TAG + b"b"


@pytest.fixture
def cluster() -> SmallCluster:
    return SmallCluster()


@pytest.fixture(params=[1, 2], ids=["at the leader", "at another node"])
def node(request: pytest.FixtureRequest) -> int:
    number = request.param
    assert isinstance(number, int)
    return number


def begin(cluster: SmallCluster, node: int = 1, key: bytes = A) -> int:
    answer = cluster.run(TxnBegin(NS, key), node=node)
    assert isinstance(answer, TxnBegun)
    return answer.txn


def ok(answer: object) -> Result:
    assert not isinstance(answer, Refusal), answer
    return answer  # type: ignore[return-value]


def reason(answer: object) -> Reason:
    assert isinstance(answer, Refusal), answer
    assert answer.ran is Ran.NO
    return answer.reason


def commit(cluster: SmallCluster, txn: int, node: int = 1) -> object:
    return cluster.run(TxnCommit(NS, None, txn), node=node)


class TestVisibility:
    def test_reads_see_its_own_writes_and_nobody_else_does(
        self, cluster: SmallCluster, node: int
    ) -> None:
        ok(cluster.run(KvPut(NS, A, b"1")))
        txn = begin(cluster, node)
        assert cluster.run(KvPut(NS, A, b"2", txn=txn), node=node) == Stored(None)
        assert cluster.run(KvGet(NS, A, txn=txn), node=node) == Value(0, b"2")
        assert cluster.run(KvGet(NS, A), node=node) == Value(1, b"1")
        assert cluster.run(KvExists(NS, B, txn=txn), node=node) == Exists(False, 0)
        assert cluster.run(KvDelete(NS, A, txn=txn), node=node) == Deleted(None)
        assert reason(cluster.run(KvGet(NS, A, txn=txn), node=node)) is Reason.NOT_FOUND
        assert cluster.run(KvIncr(NS, B, 5, txn=txn), node=node) == Counter(None, 5)
        assert cluster.run(KvIncr(NS, B, 2, txn=txn), node=node) == Counter(None, 7)
        assert cluster.run(KvExists(NS, B, txn=txn), node=node) == Exists(True, 0)

    def test_what_it_did_not_write_is_the_committed_value(
        self, cluster: SmallCluster, node: int
    ) -> None:
        txn = begin(cluster, node)
        ok(cluster.run(KvPut(NS, A, b"1")))
        assert cluster.run(KvGet(NS, A, txn=txn), node=node) == Value(1, b"1")
        ok(cluster.run(KvPut(NS, A, b"2")))
        assert cluster.run(KvGet(NS, A, txn=txn), node=node) == Value(2, b"2")

    def test_a_wait_inside_is_ignored(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        assert reason(cluster.run(KvGet(NS, A, 1000, txn=txn), node=node)) is Reason.NOT_FOUND


class TestCommit:
    def test_all_changes_have_one_version(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        for key in (A, B):
            ok(cluster.run(KvPut(NS, key, b"v", txn=txn), node=node))
        ok(cluster.run(KvIncr(NS, TAG + b"n", txn=txn), node=node))
        committed = commit(cluster, txn, node)
        assert isinstance(committed, TxnCommitted)
        assert committed.operations == 3
        for key in (A, B):
            assert cluster.run(KvGet(NS, key)) == Value(committed.commit_index, b"v")
        after = ok(cluster.run(KvPut(NS, A, b"w")))
        assert after == Stored(committed.commit_index + 1)

    def test_a_commit_is_one_entry(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        for number in range(10):
            ok(cluster.run(KvPut(NS, TAG + b"%d" % number, b"v", txn=txn), node=node))
        partition = partition_of(NS, A, 4)
        home = cluster.nodes[cluster.replicas[partition][0]].partitions[partition]
        before = home.group.commit_index
        ok(commit(cluster, txn, node))
        assert home.group.commit_index == before + 1

    def test_its_answer_can_be_asked_for_again(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        ok(cluster.run(KvIncr(NS, A, txn=txn), node=node))
        first = commit(cluster, txn, node)
        assert commit(cluster, txn, 3 - node) == first
        assert cluster.run(KvGet(NS, A)) == Value(1, (1).to_bytes(8, "little"))

    def test_an_empty_one_commits(self, cluster: SmallCluster, node: int) -> None:
        committed = commit(cluster, begin(cluster, node), node)
        assert isinstance(committed, TxnCommitted)
        assert committed.operations == 0

    def test_after_the_end_the_id_is_unknown(self, cluster: SmallCluster, node: int) -> None:
        committed, rolled_back = begin(cluster, node), begin(cluster, node)
        ok(commit(cluster, committed, node))
        assert cluster.run(TxnRollback(NS, None, rolled_back), node=node) == Done()
        for txn in (committed, rolled_back):
            for body in (KvGet(NS, A, txn=txn), KvPut(NS, A, b"v", txn=txn)):
                assert reason(cluster.run(body, node=node)) is Reason.NO_SUCH_TRANSACTION
            answer = cluster.run(TxnRollback(NS, None, txn), node=node)
            assert reason(answer) is Reason.NO_SUCH_TRANSACTION
        assert reason(commit(cluster, rolled_back)) is Reason.NO_SUCH_TRANSACTION

    def test_a_rollback_leaves_nothing(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        ok(cluster.run(KvPut(NS, A, b"v", txn=txn), node=node))
        ok(cluster.run(TxnRollback(NS, None, txn), node=node))
        assert reason(cluster.run(KvGet(NS, A))) is Reason.NOT_FOUND

    @pytest.mark.parametrize(
        ("body", "meanwhile", "why"),
        [
            (KvPut(NS, A, b"t", cas=1), KvPut(NS, A, b"x"), Reason.CAS_MISMATCH),
            (KvPut(NS, A, b"t", if_present=True), KvDelete(NS, A), Reason.CONDITION_FAILED),
            (KvPut(NS, B, b"t", if_absent=True), KvPut(NS, B, b"x"), Reason.CONDITION_FAILED),
            (KvDelete(NS, A, cas=1), KvPut(NS, A, b"x"), Reason.CAS_MISMATCH),
            (KvExpire(NS, A, 1000), KvDelete(NS, A), Reason.NOT_FOUND),
            (KvIncr(NS, B), KvPut(NS, B, b"text"), Reason.WRONG_TYPE),
        ],
        ids=["cas", "if present", "if absent", "delete", "expire", "incr"],
    )
    def test_conditions_are_tested_again(
        self, cluster: SmallCluster, node: int, body: Body, meanwhile: Body, why: Reason
    ) -> None:
        ok(cluster.run(KvPut(NS, A, b"1")))
        txn = begin(cluster, node)
        other = TAG + b"other"
        ok(cluster.run(KvPut(NS, other, b"v", txn=txn), node=node))
        ok(cluster.run(body._replace(txn=txn), node=node))  # type: ignore[call-arg]
        ok(cluster.run(KvPut(NS, TAG + b"last", b"v", txn=txn), node=node))
        ok(cluster.run(meanwhile))
        assert reason(commit(cluster, txn, node)) is why
        for key in (other, TAG + b"last"):
            assert reason(cluster.run(KvGet(NS, key))) is Reason.NOT_FOUND
        assert reason(commit(cluster, txn, node)) is Reason.NO_SUCH_TRANSACTION


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (KvPut(NS, A, b"t", cas=9), Reason.CAS_MISMATCH),
            (KvPut(NS, A, b"t", if_absent=True), Reason.CONDITION_FAILED),
            (KvDelete(NS, B, cas=3), Reason.CAS_MISMATCH),
            (KvExpire(NS, B, 1000), Reason.NOT_FOUND),
            (KvIncr(NS, A), Reason.WRONG_TYPE),
        ],
        ids=["cas", "if absent", "delete", "expire", "incr"],
    )
    def test_what_does_not_hold_is_refused_at_once_and_not_part_of_it(
        self, cluster: SmallCluster, node: int, body: Body, why: Reason
    ) -> None:
        ok(cluster.run(KvPut(NS, A, b"1")))
        txn = begin(cluster, node)
        assert reason(cluster.run(body._replace(txn=txn), node=node)) is why  # type: ignore[call-arg]
        committed = commit(cluster, txn, node)
        assert isinstance(committed, TxnCommitted)
        assert committed.operations == 0

    def test_a_missing_key_may_be_deleted(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        assert cluster.run(KvDelete(NS, B, txn=txn), node=node) == Deleted(None)
        assert isinstance(commit(cluster, txn, node), TxnCommitted)

    def test_a_key_of_another_partition(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        away = next(
            b"k%d" % number
            for number in range(99)
            if partition_of(NS, b"k%d" % number, 4) != partition_of_id(txn)
        )
        answer = cluster.run(KvPut(NS, away, b"v", txn=txn), node=node)
        assert reason(answer) is Reason.WRONG_ROUTING_KEY
        ok(cluster.run(KvPut(NS, A, b"v", txn=txn), node=node))
        assert isinstance(commit(cluster, txn, node), TxnCommitted)

    def test_ids_that_nobody_gave(self, cluster: SmallCluster, node: int) -> None:
        home = partition_of(NS, A, 4)
        for txn in (0, make_id(home, 1, 77), make_id(200, 1, 1), 2**64 - 1):
            for body in (
                KvGet(NS, A, txn=txn),
                TxnCommit(NS, None, txn),
                TxnRollback(NS, None, txn),
            ):
                answer = cluster.run(body, node=node)
                assert reason(answer) in (Reason.NO_SUCH_TRANSACTION, Reason.WRONG_ROUTING_KEY)

    def test_another_namespace_does_not_see_it(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        answer = cluster.run(TxnRollback(b"other", None, txn), node=node)
        assert reason(answer) is Reason.NO_SUCH_TRANSACTION
        assert isinstance(commit(cluster, txn, node), TxnCommitted)

    def test_too_many_operations_leave_it_usable(self, cluster: SmallCluster, node: int) -> None:
        txn = begin(cluster, node)
        for _ in range(256):
            ok(cluster.run(KvIncr(NS, A, txn=txn), node=node))
        answer = cluster.run(KvIncr(NS, A, txn=txn), node=node)
        assert reason(answer) is Reason.TXN_TOO_LARGE
        committed = commit(cluster, txn, node)
        assert isinstance(committed, TxnCommitted)
        assert committed.operations == 256
        answer = cluster.run(KvGet(NS, A))
        assert isinstance(answer, Value)
        assert int.from_bytes(answer.value, "little") == 256

    def test_too_many_bytes_leave_it_usable(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "BYTES_MAX", 20_000)
        txn = begin(cluster, node)
        half = b"v" * (20_000 // 2)
        ok(cluster.run(KvPut(NS, A, half, txn=txn), node=node))
        answer = cluster.run(KvPut(NS, B, half, txn=txn), node=node)
        assert reason(answer) is Reason.TXN_TOO_LARGE
        assert isinstance(commit(cluster, txn, node), TxnCommitted)

    def test_too_many_open_ones(self, cluster: SmallCluster) -> None:
        opened = [begin(cluster) for _ in range(OPEN_MAX)]
        answer = cluster.run(TxnBegin(NS, A))
        assert reason(answer) is Reason.TOO_MANY_TRANSACTIONS
        ok(cluster.run(TxnRollback(NS, None, opened[0])))
        begin(cluster)

    def test_json_is_no_part_of_one(self, cluster: SmallCluster) -> None:
        assert "txn" not in KvJsonGet._fields


class TestItsLife:
    def test_idle_ones_end(self, cluster: SmallCluster, node: int) -> None:
        idle, used = begin(cluster, node), begin(cluster, node)
        cluster.tick(IDLE_S / 2 + 1)
        ok(cluster.run(KvExists(NS, A, txn=used), node=node))
        cluster.tick(IDLE_S / 2)
        answer = cluster.run(KvPut(NS, A, b"v", txn=idle), node=node)
        assert reason(answer) is Reason.NO_SUCH_TRANSACTION
        assert isinstance(commit(cluster, used, node), TxnCommitted)

    def test_before_a_hand_over_open_ones_end_and_others_wait(
        self, cluster: SmallCluster, node: int
    ) -> None:
        opened = begin(cluster, node)
        number = partition_of(NS, A, 4)
        partition = cluster.nodes[cluster.replicas[number][0]].partitions[number]
        partition.transactions.pause_begins(cluster.clock.monotonic() + 1.0)
        waits = cluster.start(TxnBegin(NS, A), node=node)
        cluster.tick(0.5)
        assert not waits.given
        ok(cluster.run(KvPut(NS, A, b"v", txn=opened), node=node))
        assert isinstance(commit(cluster, opened, node), TxnCommitted)
        assert not len(partition.transactions)
        cluster.tick(0.6)
        assert isinstance(waits.answer, TxnBegun)

    def test_a_new_leader_knows_commits_only(self, cluster: SmallCluster, node: int) -> None:
        done, opened = begin(cluster, node), begin(cluster, node)
        ok(cluster.run(KvIncr(NS, A, txn=done), node=node))
        first = commit(cluster, done, node)
        partition = partition_of(NS, A, 4)
        cluster.nodes[cluster.replicas[partition][0]].partitions[
            partition
        ].transactions.forget_all()
        assert commit(cluster, done, node) == first
        assert reason(commit(cluster, opened, node)) is Reason.NO_SUCH_TRANSACTION

    def test_an_operation_that_comes_again_is_done_once(
        self, cluster: SmallCluster, node: int
    ) -> None:
        txn = begin(cluster, node)
        opened = cluster.run(OpenSession(partition_of_id(txn)))
        assert isinstance(opened, SessionOpened)
        first = CallContext(session=opened.session, sequence=1, floor=1)
        for _ in range(3):
            answer = cluster.run(KvIncr(NS, A, txn=txn), node=node, context=first)
            assert answer == Counter(None, 1)
        for number in range(2, 101):
            later = CallContext(session=opened.session, sequence=number, floor=1)
            ok(cluster.run(KvIncr(NS, B, txn=txn), node=node, context=later))
        answer = cluster.run(KvIncr(NS, A, txn=txn), node=node, context=first)
        assert answer == Counter(None, 1), "however many came in between"
        committed = commit(cluster, txn, node)
        assert isinstance(committed, TxnCommitted)
        assert committed.operations == 100

    def test_a_commit_that_is_not_run_leaves_it_open(self, cluster: SmallCluster) -> None:
        txn = begin(cluster)
        ok(cluster.run(KvIncr(NS, A, txn=txn)))
        partition = partition_of(NS, A, 4)
        home = cluster.nodes[cluster.replicas[partition][0]].partitions[partition]
        home.applying.disk_full = True
        assert reason(commit(cluster, txn)) is Reason.WRITES_STOPPED
        home.applying.disk_full = False
        assert isinstance(commit(cluster, txn), TxnCommitted)

    def test_a_commit_that_comes_again_while_it_is_in_the_log_hears_its_outcome(
        self, cluster: SmallCluster, node: int
    ) -> None:
        """As after a lost link: "no such transaction" would be a lie, for it is committed."""
        txn = begin(cluster, node)
        ok(cluster.run(KvIncr(NS, A, txn=txn), node=node))
        both = [cluster.start(TxnCommit(NS, None, txn), node=node) for _ in range(2)]
        cluster.settle()
        first, second = (each.answer for each in both)
        assert isinstance(first, TxnCommitted)
        assert second == first
        assert cluster.run(KvGet(NS, A)) == Value(1, (1).to_bytes(8, "little"))

    def test_ids_are_not_given_twice_while_in_use(self, cluster: SmallCluster) -> None:
        opened = Transactions(3, cluster.clock, Budget())
        assert partition_of_id(make_id(3, 2**24 + 5, 9)) == 3
        assert make_id(3, 2**24 + 5, 9) == make_id(3, 5, 9)
        assert len(opened) == 0
