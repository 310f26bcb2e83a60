"""History, JSON documents and expired keys, from the request to the answer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cluster.config import Limits
from cluster.state.expiry import KEYS_PER_ENTRY
from cluster.state.kv import EXPIRED_ROWS_MAX
from cluster.state.store import Table
from cluster.storage.wal_config import WalConfig
from flo.wire.answers import encode_answer
from flo.wire.frames import HEADER_BYTES
from flo.wire.kv_messages import (
    History,
    HistoryEntry,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    TxnBegin,
    TxnBegun,
)
from flo.wire.limits import V2_VALUE_BYTES_MAX
from flo.wire.messages import (
    Body,
    CallContext,
    KvDelete,
    KvGet,
    KvMget,
    KvPut,
    KvScan,
    Page,
    PageEntry,
    Stored,
    Value,
    Values,
)
from flo.wire.registry import OPS
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.small_cluster import SmallCluster

NS = b"default"
V2_FRAME_BYTES_MAX = 262_144
LARGE = WalConfig(segment_bytes=4 << 20, batch_bytes_max=1 << 20, groups_max=8)


@pytest.fixture
def cluster() -> SmallCluster:
    """Four partitions, led by nodes 1 and 2 in turn."""
    return SmallCluster()


def refused(answer: object) -> tuple[Reason, str]:
    assert isinstance(answer, Refusal)
    assert answer.ran is Ran.NO
    return answer.reason, answer.message


def values(answer: object) -> list[bytes]:
    assert isinstance(answer, History)
    return [entry.value for entry in answer.entries]


@pytest.mark.parametrize("node", [1, 2], ids=["at the leader", "at another node"])
class TestHistory:
    def test_newest_first_with_times(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(KvPut(NS, b"k", b"1"))
        first_ms = cluster.clock.wall_ms()
        cluster.clock.advance(5.0)
        cluster.run(KvPut(NS, b"k", b"2"))
        assert cluster.run(KvHistory(NS, b"k"), node=node) == History(
            (HistoryEntry(2, first_ms + 5000, b"2"), HistoryEntry(1, first_ms, b"1"))
        )

    def test_ten_unless_asked_for_up_to_sixty_five(self, cluster: SmallCluster, node: int) -> None:
        for number in range(80):
            cluster.run(KvPut(NS, b"k", b"%d" % number))
        newest = [b"%d" % number for number in range(79, -1, -1)]
        assert values(cluster.run(KvHistory(NS, b"k"), node=node)) == newest[:10]
        assert values(cluster.run(KvHistory(NS, b"k", 1), node=node)) == newest[:1]
        assert values(cluster.run(KvHistory(NS, b"k", 65), node=node)) == newest[:65]

    def test_of_a_deleted_key(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(KvPut(NS, b"k", b"1"))
        cluster.run(KvDelete(NS, b"k"))
        assert values(cluster.run(KvHistory(NS, b"k"), node=node)) == [b"1"]

    def test_of_a_key_whose_time_has_come(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(KvPut(NS, b"k", b"1", ttl_ms=1000))
        cluster.clock.advance(2.0)
        assert values(cluster.run(KvHistory(NS, b"k"), node=node)) == [b"1"]
        cluster.tick(2.0)
        assert values(cluster.run(KvHistory(NS, b"k"), node=node)) == [b"1"]

    def test_of_a_key_never_written(self, cluster: SmallCluster, node: int) -> None:
        assert refused(cluster.run(KvHistory(NS, b"k"), node=node)) == (
            Reason.NOT_FOUND,
            "no such key",
        )

    def test_a_v2_answer_fits_its_frame(self, node: int) -> None:
        cluster = SmallCluster(wal_config=LARGE)
        for size in (60_000, 1000, V2_VALUE_BYTES_MAX - 2000, 900, 100):
            cluster.run(KvPut(NS, b"k", bytes(size)))
        answer = cluster.run(KvHistory(NS, b"k"), revision=2, node=node)
        sizes = [len(value) for value in values(answer)]
        assert sizes == [100, 900, V2_VALUE_BYTES_MAX - 2000, 1000]
        assert not isinstance(answer, Refusal)
        assert len(encode_answer(2, 1, OPS[0x105], answer)) <= V2_FRAME_BYTES_MAX
        assert len(values(cluster.run(KvHistory(NS, b"k"), revision=1, node=node))) == 5

    def test_a_v2_answer_is_filled_to_its_last_byte(self, node: int) -> None:
        cluster = SmallCluster(wal_config=LARGE)
        left = V2_FRAME_BYTES_MAX - HEADER_BYTES - 4 - 2 * 20
        for size in (1, left - 100_000, 100_000):
            cluster.run(KvPut(NS, b"k", bytes(size)))
        answer = cluster.run(KvHistory(NS, b"k"), revision=2, node=node)
        assert len(values(answer)) == 2

    def test_a_v1_answer_is_bounded_too(self, node: int) -> None:
        cluster = SmallCluster(limits=Limits(answer_bytes_max=3000))
        for _ in range(5):
            cluster.run(KvPut(NS, b"k", bytes(1200)))
        assert len(values(cluster.run(KvHistory(NS, b"k"), node=node))) == 2


@pytest.mark.parametrize("node", [1, 2], ids=["at the leader", "at another node"])
class TestJson:
    def test_a_document_is_set_read_changed_and_cut(self, cluster: SmallCluster, node: int) -> None:
        run: list[Body] = [
            KvJsonSet(NS, b"k", b"", b'{"n" : 1}'),
            KvJsonSet(NS, b"k", b"$.tags", b'["a"]'),
            KvJsonGet(NS, b"k", b"$.tags[0]"),
            KvJsonDelete(NS, b"k", b".n"),
            KvGet(NS, b"k"),
            KvJsonDelete(NS, b"k"),
        ]
        assert [cluster.run(body, node=node) for body in run] == [
            Stored(1),
            Stored(2),
            Value(2, b'"a"'),
            Stored(3),
            Value(3, b'{"tags":["a"]}'),
            Stored(None),
        ]
        assert refused(cluster.run(KvJsonGet(NS, b"k"), node=node))[0] is Reason.NOT_FOUND

    @pytest.mark.parametrize(
        ("body", "reason", "message"),
        [
            (KvJsonGet(NS, b"missing"), Reason.NOT_FOUND, "no such key"),
            (KvJsonSet(NS, b"missing", b".a", b"1"), Reason.NOT_FOUND, "no such key"),
            (KvJsonDelete(NS, b"missing"), Reason.NOT_FOUND, "no such key"),
            (
                KvJsonGet(NS, b"k", b".x"),
                Reason.NOT_FOUND,
                "the document has nothing at this path",
            ),
            (
                KvJsonSet(NS, b"k", b".x.y", b"1"),
                Reason.NOT_FOUND,
                "the document has nothing at this path",
            ),
            (
                KvJsonDelete(NS, b"k", b".x"),
                Reason.NOT_FOUND,
                "the document has nothing at this path",
            ),
            (
                KvJsonGet(NS, b"k", b"$.a[-1]"),
                Reason.MALFORMED,
                "the path is not understood from character 4 on: it is $, then .field and [index]"
                " in any number, as in $.items[0].name",
            ),
            (
                KvJsonSet(NS, b"k", b"$", b'{"a":NaN}'),
                Reason.MALFORMED,
                "the document is no JSON: there is a mistake at or after character 1",
            ),
            (
                KvJsonGet(NS, b"text", b".a"),
                Reason.WRONG_TYPE,
                "the value of the key is no JSON document: there is a mistake at or after"
                " character 1",
            ),
            (
                KvJsonSet(NS, b"k", b".a", b'"' + bytes(200).replace(b"\0", b"x") + b'"'),
                Reason.FIELD_TOO_LONG,
                "the document would have 208 bytes: at most 200",
            ),
        ],
    )
    def test_refusals_say_why(self, node: int, body: Body, reason: Reason, message: str) -> None:
        cluster = SmallCluster(limits=Limits(value_bytes_max=200))
        cluster.run(KvPut(NS, b"k", b'{"a":1}'))
        cluster.run(KvPut(NS, b"text", b"hello"))
        assert refused(cluster.run(body, node=node)) == (reason, message)
        assert cluster.run(KvGet(NS, b"k")) == Value(1, b'{"a":1}')

    def test_a_document_stays_small_enough_for_who_changes_it(self, node: int) -> None:
        cluster = SmallCluster(wal_config=LARGE)
        cluster.run(KvPut(NS, b"k", b'["' + b"x" * (V2_VALUE_BYTES_MAX - 4) + b'"]'))
        more = KvJsonSet(NS, b"k", b"[1]", b"1")
        assert refused(cluster.run(more, revision=2, node=node))[0] is Reason.FIELD_TOO_LONG
        assert cluster.run(more, revision=1, node=node) == Stored(2)

    def test_a_change_wakes_who_waits(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(KvJsonSet(NS, b"k", b"$", b"{}"))
        answers = cluster.start(KvGet(NS, b"k", 1000, wait_for_change=True), node=node)
        cluster.settle()
        assert not answers.given
        cluster.run(KvJsonSet(NS, b"k", b".a", b"1"))
        assert answers.answer == Value(2, b'{"a":1}')
        answers = cluster.start(KvGet(NS, b"k", 1000, wait_for_change=True), node=node)
        cluster.settle()
        cluster.run(KvJsonDelete(NS, b"k", b".a"))
        assert answers.answer == Value(3, b"{}")


@pytest.mark.parametrize("prefix", [b"_action:", b"_worker:", b"_sys:", b"_internal:", b"_flo:"])
def test_reserved_keys_have_neither(cluster: SmallCluster, prefix: bytes) -> None:
    key = prefix + b"x"
    bodies: list[Body] = [
        KvHistory(NS, key),
        KvJsonGet(NS, key),
        KvJsonSet(NS, key, b"$", b"1"),
        KvJsonSet(NS, key, b"?", b"?"),
        KvJsonDelete(NS, key),
    ]
    for body in bodies:
        assert refused(cluster.run(body))[0] is Reason.RESERVED_KEY


def test_mget_takes_256_keys_over_all_partitions(cluster: SmallCluster) -> None:
    keys = tuple(b"%d" % number for number in range(256))
    assert len({partition_of(NS, key, 4) for key in keys}) == 4
    for key in keys:
        cluster.run(KvPut(NS, key, b"v" + key))
    answer = cluster.run(KvMget(NS, keys))
    assert isinstance(answer, Values)
    assert [entry.value for entry in answer.entries] == [b"v" + key for key in keys]


def test_a_get_in_a_transaction_does_not_wait(cluster: SmallCluster) -> None:
    begun = cluster.run(TxnBegin(NS, b"k"))
    assert isinstance(begun, TxnBegun)
    answer = cluster.run(KvGet(NS, b"k", 60_000, txn=begun.txn))
    assert refused(answer) == (Reason.NOT_FOUND, "no such key")


class TestManyExpiredKeys:
    def full(self, count: int) -> SmallCluster:
        """One partition with keys that expire in a second, and two that stay."""
        cluster = SmallCluster(owners=(1,))
        bodies = [KvPut(NS, b"m%06d" % number, b"v", ttl_ms=1000) for number in range(count)]
        for body in (KvPut(NS, b"a", b"v"), *bodies, KvPut(NS, b"z", b"v")):
            cluster.start(body)
        cluster.settle()
        return cluster

    def rows(self, cluster: SmallCluster) -> int:
        """Keys that the store holds, alive or not."""
        with cluster.nodes[1].partitions[0].replica.view() as (txn, _):
            return sum(1 for _ in txn.scan(Table.KV, b""))

    def test_they_go_on_their_own_some_with_each_tick(self) -> None:
        count = 20 * KEYS_PER_ENTRY
        cluster = self.full(count)
        partition = cluster.nodes[1].partitions[0]
        cluster.tick(1.5)
        assert self.rows(cluster) == count + 2, "nobody asked, and it is not overdue yet"
        cluster.clock.advance(1.0)
        left = [count + 2]
        before = partition.group.last_index
        while left[-1] > 2:
            cluster.tick()
            left.append(self.rows(cluster))
        steps = {earlier - later for earlier, later in pairwise(left)}
        assert steps == {KEYS_PER_ENTRY}, "each tick, and never more at once"
        assert partition.group.last_index == before + 20
        cluster.tick(5.0)
        assert partition.group.last_index == before + 20, "nothing is left to do"

    @pytest.mark.parametrize("stale", [False, True])
    def test_a_scan_passes_over_them_bit_by_bit(
        self, monkeypatch: pytest.MonkeyPatch, *, stale: bool
    ) -> None:
        monkeypatch.setattr("cluster.state.kv.EXPIRED_ROWS_MAX", 10)
        monkeypatch.setattr("cluster.state.expiry.KEYS_PER_ENTRY", 0)
        monkeypatch.setattr("cluster.state.expiry.KEYS_PER_COMMAND", 0)
        assert EXPIRED_ROWS_MAX > 10
        cluster = self.full(300)
        cluster.clock.advance(5.0)
        cluster.run(KvPut(NS, b"b", b"v"))
        assert self.rows(cluster) == 303
        context = CallContext(stale=True) if stale else None
        found: list[bytes] = []
        cursor = b""
        for _ in range(5):
            page = cluster.run(KvScan(NS, b"", 2, cursor), context=context)
            assert isinstance(page, Page)
            found += [entry.key for entry in page.entries]
            if page.cursor is None:
                break
            assert page.entries, "only the last page may be empty"
            cursor = page.cursor
        assert found == [b"a", b"b", b"z"]
        assert cluster.run(KvScan(NS, b"m"), context=context) == Page((), None)
        assert cluster.run(KvScan(NS, b"z"), context=context) == Page(
            (PageEntry(b"z", b"v"),), None
        )
