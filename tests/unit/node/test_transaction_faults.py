"""Transactions when something is in their way: others who commit, lost leaders, full nodes."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

from cluster import replica, transactions
from cluster.raft.group import RaftGroup
from cluster.state.errors import CorruptState
from cluster.transactions import Budget
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted, TxnRollback
from flo.wire.messages import (
    Body,
    CallContext,
    Counter,
    Done,
    Exists,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvIncr,
    KvPut,
    KvScan,
    Page,
    Value,
)
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.kit import ManualClock
from tests.unit.node.small_cluster import SmallCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cluster.partition import Partition
    from cluster.raft.reads import ReadReady

NS = b"default"
TAG = b"{acct}"
A, B = TAG + b"a", TAG + b"b"
HASTY = CallContext(deadline_ms=100)


@pytest.fixture
def cluster() -> SmallCluster:
    """One partition, which node 1 leads."""
    return SmallCluster(owners=(1,))


def home(cluster: SmallCluster) -> Partition:
    return cluster.nodes[1].partitions[0]


def begin(cluster: SmallCluster) -> int:
    answer = cluster.run(TxnBegin(NS, A))
    assert isinstance(answer, TxnBegun)
    return answer.txn


def fill_disk(cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed from now on waits to be applied."""
    ok(cluster, KvPut(NS, B, b"not stored yet"))
    monkeypatch.setattr(replica, "UNSTORED_BYTES_MAX", 1)
    cluster.nodes[1].stores[0].full = True


def ok(cluster: SmallCluster, body: Body) -> None:
    answer = cluster.run(body)
    assert not isinstance(answer, Refusal), answer


def refused(answer: object, ran: Ran = Ran.NO) -> Reason:
    assert isinstance(answer, Refusal), answer
    assert answer.ran is ran
    return answer.reason


def committed(cluster: SmallCluster, txn: int) -> TxnCommitted:
    answer = cluster.run(TxnCommit(NS, None, txn))
    assert isinstance(answer, TxnCommitted), answer
    return answer


class TestOthersCommitMeanwhile:
    @pytest.mark.parametrize(
        "other", [TAG + b"x" * 599, TAG + b"y" * 460 + b"x" * 140], ids=["same", "another"]
    )
    def test_long_keys_with_the_same_or_another_beginning(
        self, cluster: SmallCluster, other: bytes
    ) -> None:
        own = TAG + b"x" * 600
        txn = begin(cluster)
        ok(cluster, KvPut(NS, own, b"mine", txn=txn))
        ok(cluster, KvPut(NS, other, b"other"))
        assert cluster.run(KvGet(NS, other, txn=txn)) == Value(1, b"other")
        assert cluster.run(KvGet(NS, own, txn=txn)) == Value(0, b"mine")
        committed(cluster, txn)
        assert cluster.run(KvGet(NS, own)) == Value(2, b"mine")

    def test_a_delete_hides_no_sibling(self, cluster: SmallCluster) -> None:
        long = TAG + b"x" * 480
        ok(cluster, KvPut(NS, long + b"1", b"v"))
        txn = begin(cluster)
        ok(cluster, KvDelete(NS, long + b"1", txn=txn))
        ok(cluster, KvPut(NS, long + b"2", b"w"))
        assert cluster.run(KvExists(NS, long + b"2", txn=txn)) == Exists(True, 2)

    def test_what_it_did_is_done_on_what_is_there_now(self, cluster: SmallCluster) -> None:
        txn = begin(cluster)
        ok(cluster, KvIncr(NS, A, 2, txn=txn))
        ok(cluster, KvPut(NS, B, b"1", if_absent=True, txn=txn))
        ok(cluster, KvIncr(NS, A, 40))
        ok(cluster, KvPut(NS, B, b"2"))
        assert cluster.run(KvIncr(NS, A, 0, txn=txn)) == Counter(None, 42)
        assert cluster.run(KvGet(NS, B, txn=txn)) == Value(2, b"2"), "its condition holds no more"
        answer = cluster.run(TxnCommit(NS, None, txn))
        assert refused(answer) is Reason.CONDITION_FAILED

    def test_a_mistake_above_the_state_costs_the_call_alone(
        self,
        cluster: SmallCluster,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(*_: object) -> None:
            raise CorruptState("as if")

        txn = begin(cluster)
        ok(cluster, KvPut(NS, A, b"1", txn=txn))
        with monkeypatch.context() as patch:
            patch.setattr(transactions, "kv_get", fail)
            assert refused(cluster.run(KvGet(NS, A, txn=txn))) is Reason.INTERNAL
        assert "a call of a transaction failed" in caplog.text
        assert home(cluster).broken is None
        assert committed(cluster, txn).operations == 1


class TestExpiry:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (KvExists(NS, A), Exists(False, 0)),
            (KvIncr(NS, A, 3), Counter(None, 3)),
        ],
        ids=["read", "write"],
    )
    def test_an_expired_key_is_forgotten_everywhere_first(
        self, cluster: SmallCluster, body: KvExists | KvIncr, expected: object
    ) -> None:
        ok(cluster, KvPut(NS, A, b"text", 1000))
        txn = begin(cluster)
        cluster.clock.advance(2.0)
        before = home(cluster).group.last_index
        assert cluster.run(body._replace(txn=txn)) == expected
        assert home(cluster).group.last_index == before + 1
        cluster.run(body._replace(txn=txn))
        assert home(cluster).group.last_index == before + 1

    def test_its_own_times_begin_with_the_commit(self, cluster: SmallCluster) -> None:
        txn = begin(cluster)
        ok(cluster, KvPut(NS, A, b"v", 1000, txn=txn))
        cluster.clock.advance(2.0)
        assert cluster.run(KvGet(NS, A, txn=txn)) == Value(0, b"v")
        committed(cluster, txn)
        assert isinstance(cluster.run(KvGet(NS, A)), Value)


class TestBounds:
    def test_a_new_time_to_live_counts_the_value(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "WRITTEN_MAX", 4000)
        for key in (A, B):
            ok(cluster, KvPut(NS, key, bytes(1000)))
        txn = begin(cluster)
        for key in (A, B, A, B):
            ok(cluster, KvExpire(NS, key, 5000, txn=txn))
        answer = cluster.run(KvExpire(NS, A, 5000, txn=txn))
        assert refused(answer) is Reason.TXN_TOO_LARGE
        assert committed(cluster, txn).operations == 4

    def test_also_when_the_value_has_grown_since(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "WRITTEN_MAX", 4000)
        ok(cluster, KvPut(NS, A, b""))
        txn = begin(cluster)
        for _ in range(5):
            ok(cluster, KvExpire(NS, A, 5000, txn=txn))
        ok(cluster, KvPut(NS, A, bytes(1000)))
        assert refused(cluster.run(KvGet(NS, A, txn=txn))) is Reason.TXN_TOO_LARGE

    def test_all_of_a_node_have_a_bound_together(self, cluster: SmallCluster) -> None:
        room = Budget().room
        assert room.bytes_max == 64 << 20
        budget = home(cluster).transactions._budget  # pyright: ignore[reportPrivateUsage]
        budget.room.bytes_max = 3 * 1600
        opened = [begin(cluster) for _ in range(4)]
        for txn in opened[:3]:
            ok(cluster, KvPut(NS, A, bytes(1000), txn=txn))
        answer = cluster.run(KvPut(NS, A, bytes(1000), txn=opened[3]))
        assert refused(answer) is Reason.TOO_MANY_TRANSACTIONS
        assert isinstance(answer, Refusal)
        assert "64 MiB" in answer.message
        ok(cluster, TxnRollback(NS, None, opened[0]))
        ok(cluster, KvPut(NS, A, bytes(1000), txn=opened[3]))
        for txn in opened[1:]:
            committed(cluster, txn)
        assert budget.room.taken == 0

    def test_a_turn_ends_after_a_while(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        partition = home(cluster)
        calls = [cluster.start(KvGet(NS, A)) for _ in range(5)]
        times = count()

        def passing(_: ManualClock) -> float:
            return next(times) * 0.008

        monkeypatch.setattr(ManualClock, "monotonic", passing)
        partition.before_sync()
        partition.apply_and_answer()
        answered = sum(len(each.given) for each in calls)
        assert 0 < answered < 5
        while answered < 5:
            partition.apply_and_answer()
            answered = sum(len(each.given) for each in calls)


class TestTimeIsOver:
    def test_a_commit_in_the_log_may_have_run(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        txn = begin(cluster)
        ok(cluster, KvPut(NS, A, b"v", txn=txn))
        fill_disk(cluster, monkeypatch)
        late = cluster.start(TxnCommit(NS, None, txn), context=HASTY)
        cluster.settle()
        cluster.tick(0.2)
        assert refused(late.answer, Ran.UNKNOWN) is Reason.ANSWER_LOST
        # Another copy is not run, but that says nothing about the first.
        again = cluster.start(TxnCommit(NS, None, txn), context=HASTY)
        cluster.settle()
        cluster.tick(0.2)
        assert refused(again.answer, Ran.UNKNOWN) is Reason.ANSWER_LOST
        cluster.nodes[1].stores[0].full = False
        cluster.tick(0.6)
        assert cluster.run(KvGet(NS, A)) == Value(2, b"v")
        assert committed(cluster, txn).operations == 1

    @pytest.mark.parametrize("what", ["write", "commit"])
    def test_what_has_not_run_by_then_never_does(self, cluster: SmallCluster, what: str) -> None:
        txn = begin(cluster)
        ok(cluster, KvIncr(NS, A, 10, txn=txn))
        partition = home(cluster)
        bodies: dict[str, Body] = {
            "write": KvIncr(NS, A, 1, txn=txn),
            "commit": TxnCommit(NS, None, txn),
        }
        late = cluster.start(bodies[what], context=HASTY)
        cluster.clock.advance(0.2)
        cluster.nodes[1].dispatcher.tick()
        refused(late.answer, Ran.UNKNOWN if what == "commit" else Ran.NO)
        cluster.settle()
        assert len(partition.transactions) == 1
        assert partition.unanswered == 0
        assert cluster.run(KvIncr(NS, A, 0, txn=txn)) == Counter(None, 10)


_OF_THE_STATE: dict[str, Callable[[int], Body]] = {
    "absent": lambda txn: KvPut(NS, A, b"v", if_absent=True, txn=txn),
    "cas": lambda txn: KvPut(NS, A, b"v", cas=1, txn=txn),
    "get": lambda txn: KvGet(NS, A, txn=txn),
    "incr": lambda txn: KvIncr(NS, B, txn=txn),
    "delete": lambda txn: KvDelete(NS, A, txn=txn),
    "commit": lambda txn: TxnCommit(NS, None, txn),
    "rollback unknown": lambda txn: TxnRollback(NS, None, txn + 1),
    "put unknown": lambda txn: KvPut(NS, A, b"v", txn=txn + 1),
}


def _no_reads(_group: RaftGroup) -> list[ReadReady]:
    return []


class TestWithoutAReadIndex:
    """What says nothing of the state is answered by a leader that may have lost its majority."""

    @pytest.fixture
    def txn(self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> int:
        """An open transaction at a leader to which nobody confirms any more that it leads."""
        ok(cluster, KvPut(NS, A, b"before"))
        txn = begin(cluster)
        monkeypatch.setattr(RaftGroup, "take_reads", _no_reads)
        return txn

    def test_begin_and_put_and_rollback(self, cluster: SmallCluster, txn: int) -> None:
        begun = cluster.start(TxnBegin(NS, A))
        put = cluster.start(KvPut(NS, A, b"v", txn=txn))
        rolled_back = cluster.start(TxnRollback(NS, None, txn))
        cluster.settle()
        assert isinstance(begun.answer, TxnBegun)
        assert not isinstance(put.answer, Refusal)
        assert rolled_back.answer == Done()

    def test_none_overtakes_another_of_its_transaction(self, cluster: SmallCluster) -> None:
        ok(cluster, KvPut(NS, A, b"before"))
        ok(cluster, KvIncr(NS, B, 1))
        txn = begin(cluster)
        seen = cluster.start(KvGet(NS, A, txn=txn))
        put = cluster.start(KvPut(NS, A, b"later", txn=txn))
        cluster.start(KvIncr(NS, B, 5, txn=txn))
        cluster.start(KvPut(NS, B, bytes(8), txn=txn))
        assert not put.given
        cluster.settle()
        assert seen.answer == Value(1, b"before")
        committed(cluster, txn)
        assert cluster.run(KvGet(NS, A)) == Value(3, b"later")
        assert cluster.run(KvGet(NS, B)) == Value(3, bytes(8))
        # Nothing is left behind that would hold up the next one.
        again = begin(cluster)
        assert cluster.start(KvPut(NS, A, b"at once", txn=again)).given

    def test_damage_stops_the_replica_and_not_its_node(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @contextmanager
        def damaged() -> Generator[None]:
            raise CorruptState("for this test")
            yield

        begin(cluster)
        monkeypatch.setattr(home(cluster).replica, "view", damaged)
        call = cluster.start(TxnBegin(NS, A))
        cluster.settle()
        assert not call.given
        assert home(cluster).broken == "CorruptState: for this test"

    @pytest.mark.parametrize("what", _OF_THE_STATE)
    def test_what_depends_on_the_state_waits(
        self, cluster: SmallCluster, txn: int, what: str
    ) -> None:
        call = cluster.start(_OF_THE_STATE[what](txn))
        cluster.settle()
        assert not call.given


class TestALostLeadership:
    def test_a_call_of_an_earlier_term_is_asked_again(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was confirmed while the leader led, and answered only when it led no longer."""
        txn = begin(cluster)
        ok(cluster, KvIncr(NS, A, txn=txn))
        fill_disk(cluster, monkeypatch)
        first = cluster.start(TxnCommit(NS, None, txn))
        cluster.settle()
        second = cluster.start(TxnCommit(NS, None, txn))
        monkeypatch.setattr(RaftGroup, "leads_term", property(lambda _: 7))
        # Until a turn has noticed that, what is open is of the earlier term: this one must wait.
        begun = cluster.start(TxnBegin(NS, A))
        assert not begun.given
        for _ in range(3):
            while cluster.nodes[1].callbacks:
                cluster.nodes[1].callbacks.popleft()()
        assert not first.given
        assert not second.given
        cluster.nodes[1].stores[0].full = False
        cluster.tick(0.6)
        cluster.tick()
        assert isinstance(first.answer, TxnCommitted)
        assert second.answer == first.answer
        assert isinstance(begun.answer, TxnBegun)
        assert begun.answer.txn >> 24 & 0xFFFFFF == 7


class TestWords:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (KvPut(NS, A, b"", 2**63), "time to live is too long"),
            (KvExpire(NS, B, 2**63), "time to live is too long"),
            (KvDelete(NS, A, cas=3), "there is no such key"),
            (KvPut(NS, B, b"", cas=9), "the version is 1"),
            (KvScan(NS, b"none"), None),
        ],
        ids=["put", "expire", "delete", "cas", "fine"],
    )
    def test_a_refusal_says_what_is_wrong(
        self, cluster: SmallCluster, body: Body, text: str | None
    ) -> None:
        ok(cluster, KvPut(NS, B, b"v"))
        answer = cluster.run(body)
        if text is None:
            assert isinstance(answer, Page)
        else:
            assert isinstance(answer, Refusal)
            assert text in answer.message

    def test_what_it_has_written_itself_has_no_version(self, cluster: SmallCluster) -> None:
        txn = begin(cluster)
        ok(cluster, KvPut(NS, A, b"1", txn=txn))
        answer = cluster.run(KvPut(NS, A, b"2", cas=1, txn=txn))
        assert refused(answer) is Reason.CAS_MISMATCH
        assert isinstance(answer, Refusal)
        assert "no version before the commit" in answer.message
        answer = cluster.run(KvPut(NS, A, b"2", if_absent=True, txn=txn))
        assert isinstance(answer, Refusal)
        assert answer.message == "the key exists"
