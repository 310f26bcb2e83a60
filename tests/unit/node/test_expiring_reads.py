"""A read that meets a key whose time has come has every replica forget it first."""

import pytest

from cluster.queries import ClockBehindError, View
from cluster.state.store import ReadTransaction
from flo.wire.messages import (
    Body,
    CallContext,
    Done,
    Exists,
    KvExists,
    KvExpire,
    KvGet,
    KvMget,
    KvPut,
    KvScan,
    Page,
    ValueEntry,
    Values,
)
from flo.wire.status import Reason, Refusal
from tests.unit.node.small_cluster import SmallCluster

NS = b"default"


@pytest.fixture
def cluster() -> SmallCluster:
    """One partition that node 1 leads, with a key that lives for a second."""
    cluster = SmallCluster(owners=(1,))
    cluster.run(KvPut(NS, b"short", b"v", 1000))
    cluster.run(KvPut(NS, b"long", b"v"))
    return cluster


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (KvExists(NS, b"short"), Exists(False, 0)),
        (KvMget(NS, (b"short",)), Values((ValueEntry(b"short", False, 0, b""),))),
        (KvScan(NS, b"short"), Page((), None)),
    ],
)
def test_a_key_whose_time_has_come_is_gone_for_reads(
    cluster: SmallCluster, body: Body, answer: object
) -> None:
    partition = cluster.nodes[1].partitions[0]
    cluster.clock.advance(0.999)
    assert cluster.run(body) != answer
    before = partition.group.last_index
    cluster.clock.advance(0.001)
    assert cluster.run(body) == answer
    assert partition.group.last_index == before + 1, "a clock entry was committed first"
    assert cluster.run(body) == answer
    assert partition.group.last_index == before + 1, "the replicas know already"


def test_other_keys_need_no_clock_entry(cluster: SmallCluster) -> None:
    partition = cluster.nodes[1].partitions[0]
    cluster.clock.advance(5.0)
    before = partition.group.last_index
    cluster.run(KvGet(NS, b"long"))
    assert partition.group.last_index == before


def test_many_reads_of_an_expired_key_share_a_clock_entry(cluster: SmallCluster) -> None:
    partition = cluster.nodes[1].partitions[0]
    before = partition.group.last_index
    cluster.clock.advance(2.0)
    answers = [cluster.start(KvGet(NS, b"short")) for _ in range(20)]
    cluster.settle()
    for each in answers:
        assert isinstance(each.answer, Refusal)
        assert each.answer.reason is Reason.NOT_FOUND
    assert partition.group.last_index == before + 1


def test_a_stale_read_goes_by_what_is_applied(cluster: SmallCluster) -> None:
    cluster.clock.advance(2.0)
    stale = CallContext(stale=True)
    assert cluster.run(KvExists(NS, b"short"), context=stale) == Exists(True, 1)


def test_a_key_without_a_time_to_live_stays(cluster: SmallCluster) -> None:
    assert cluster.run(KvExpire(NS, b"short", 0)) == Done()
    cluster.clock.advance(100.0)
    assert cluster.run(KvExists(NS, b"short")) == Exists(True, 1)


def test_a_view_reports_a_key_that_its_stamp_still_shows(cluster: SmallCluster) -> None:
    replica = cluster.nodes[1].partitions[0].replica

    def look(txn: ReadTransaction, stamp_ms: int, now_ms: int | None) -> bool:
        return View(txn, stamp_ms, now_ms).get(NS, b"short") is not None

    with replica.view() as (txn, stamp_ms):
        assert look(txn, stamp_ms, None)
        assert look(txn, stamp_ms, stamp_ms + 999)
        with pytest.raises(ClockBehindError):
            look(txn, stamp_ms, stamp_ms + 1000)
        assert not look(txn, stamp_ms + 1000, None)


def test_a_replica_that_takes_no_part_answers_no_stale_read(cluster: SmallCluster) -> None:
    stale = CallContext(stale=True, deadline_ms=100)
    assert cluster.run(KvExists(NS, b"long"), context=stale) == Exists(True, 2)
    partition = cluster.nodes[1].partitions[0]
    partition.takes_part = False
    heard: list[object] = []

    class Asker:
        def on_result(self, result: object) -> None:
            heard.append(result)

        def on_not_leader(self, leader: int) -> None:
            heard.append("elsewhere")

        def on_unknown(self) -> None:
            heard.append("unknown")

    partition.read_stale(0x115, (NS, b"long"), Asker())
    assert heard == ["elsewhere"]
