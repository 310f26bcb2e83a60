"""Streams and groups at nodes: reads that wait, what wakes them, and listings of all partitions."""

from __future__ import annotations

import pytest

from cluster.config import Limits
from cluster.state.group_commands import IDS_MAX
from cluster.storage.wal_config import WalConfig
from flo.wire.group_messages import (
    Claimed,
    ConsumerSummary,
    GroupAck,
    GroupClaim,
    GroupCreate,
    GroupInfo,
    GroupInfoResult,
    GroupJoin,
    GroupLeave,
    GroupMode,
    GroupNack,
    GroupPending,
    GroupRead,
    GroupSettings,
    PendingEntry,
    PendingList,
)
from flo.wire.limits import HEADERS_MAX
from flo.wire.messages import Body, Deleted, Done
from flo.wire.routing import partition_of, stream_home
from flo.wire.status import Ran, Reason, Refusal, Status
from flo.wire.stream_messages import (
    Appended,
    Records,
    Retention,
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamId,
    StreamInfo,
    StreamInfoResult,
    StreamItem,
    StreamList,
    StreamListing,
    StreamRead,
    StreamRecord,
    StreamTrim,
    Trimmed,
)
from tests.unit.node.queue_kit import wake_in_vain
from tests.unit.node.small_cluster import Answers, SmallCluster

NS = b"default"
S = b"s"
G = b"g"


@pytest.fixture
def cluster() -> SmallCluster:
    """Four partitions, led by nodes 1 and 2 in turn."""
    return SmallCluster()


def append(cluster: SmallCluster, *payloads: bytes, stream: bytes = S) -> StreamId:
    answer = cluster.run(StreamAppend(NS, stream, tuple(map(StreamItem, payloads))))
    assert isinstance(answer, Appended)
    return answer.id


def start(cluster: SmallCluster, body: Body, node: int = 1) -> Answers:
    answers = cluster.start(body, node=node)
    cluster.settle()
    return answers


def payloads(answer: object) -> list[bytes]:
    assert isinstance(answer, Records)
    return [record.payload for record in answer.records]


def taken(cluster: SmallCluster, consumer: bytes, limit: int = 100) -> list[bytes]:
    return payloads(cluster.run(GroupRead(NS, S, G, consumer, limit)))


def reason(answer: object) -> Reason:
    assert isinstance(answer, Refusal)
    assert answer.ran is Ran.NO
    return answer.reason


def waiting(cluster: SmallCluster) -> int:
    return sum(len(p.waiting) for each in cluster.nodes.values() for p in each.partitions.values())


def lose_leadership(cluster: SmallCluster, stream: bytes = S) -> None:
    """As after a hand-over that came back: what waits must find its way again."""
    partition = partition_of(NS, stream, len(cluster.replicas))
    owner = cluster.nodes[cluster.replicas[partition][0]]
    for call in owner.partitions[partition].waiting.take_all():
        call.on_not_leader(owner.node_id)


class TestAnswers:
    def test_a_record_says_all_it_is(self, cluster: SmallCluster) -> None:
        cluster.run(StreamCreate(NS, S, partitions=4))
        item = StreamItem(b"p", ((b"n", b"v"),))
        appended = cluster.run(StreamAppend(NS, S, (item,), partition=3))
        assert isinstance(appended, Appended)
        record = StreamRecord(appended.id, b"p", ((b"n", b"v"),), partition=3, stream=S)
        assert cluster.run(StreamRead(NS, S)) == Records((record,))
        assert cluster.run(StreamRead(NS, S), node=2) == Records((record,))
        assert cluster.run(GroupRead(NS, S, G, b"c")) == Records((record,))
        assert cluster.run(GroupClaim(NS, S, G, b"c", 0)) == Claimed((record,), None)
        pending = PendingList((PendingEntry(appended.id, 2, b"c"),))
        assert cluster.run(GroupPending(NS, S, G)) == pending
        assert cluster.run(GroupPending(NS, S, G, b"c")) == pending
        assert cluster.run(GroupPending(NS, S, G, b"d")) == PendingList(())

    def test_info_trim_alter_and_delete(self, cluster: SmallCluster) -> None:
        first = append(cluster, b"a", b"bc", b"d")
        last = StreamId(first.timestamp_ms, first.sequence + 2)
        assert cluster.run(StreamInfo(NS, S)) == StreamInfoResult(first, last, 3, 4, 1)
        assert cluster.run(StreamTrim(NS, S, before=first, dry_run=True)) == Trimmed(1, 1)
        assert cluster.run(StreamTrim(NS, S, before=first)) == Trimmed(1, 1)
        assert cluster.run(StreamAlter(NS, S, Retention(max_len=1))) == Done()
        assert cluster.run(StreamInfo(NS, S)) == StreamInfoResult(last, last, 1, 1, 1)
        assert reason(cluster.run(StreamDelete(NS, S))) is Reason.CONDITION_FAILED
        assert cluster.run(StreamDelete(NS, S, force=True)) == Deleted(True)
        assert cluster.run(StreamDelete(NS, S)) == Deleted(False)

    def test_what_is_unknown_is_empty(self, cluster: SmallCluster) -> None:
        zero = StreamId(0, 0)
        assert cluster.run(StreamRead(NS, S)) == Records(())
        assert cluster.run(StreamInfo(NS, S)) == StreamInfoResult(zero, zero, 0, 0, 1)
        assert cluster.run(GroupPending(NS, S, G)) == PendingList(())
        assert cluster.run(GroupClaim(NS, S, G, b"c", 0)) == Claimed((), None)
        assert cluster.run(GroupLeave(NS, S, G, b"c")) == Done()
        assert reason(cluster.run(GroupAck(NS, S, G, b"c", ()))) is Reason.NOT_FOUND
        assert reason(cluster.run(GroupNack(NS, S, G, b"c", ()))) is Reason.NOT_FOUND
        assert reason(cluster.run(StreamAlter(NS, S))) is Reason.NOT_FOUND
        assert cluster.run(GroupRead(NS, S, G, b"c")) == Records(())

    def test_a_group_says_how_it_is(self, cluster: SmallCluster) -> None:
        settings = GroupSettings(1000, 3, 2, 5)
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED, settings=settings))
        cluster.run(GroupJoin(NS, S, G, b"c"))
        answer = cluster.run(GroupInfo(NS, S, G), node=2)
        consumers = (ConsumerSummary(b"c", 0, True),)
        zero = StreamId(0, 0)
        assert answer == GroupInfoResult(GroupMode.KEY_SHARED, settings, zero, 0, 0, consumers)

    def test_an_index_too_high_is_out_of_range(self, cluster: SmallCluster) -> None:
        body = StreamAppend(NS, S, (StreamItem(b"x"),), partition=1)
        assert reason(cluster.run(body)) is Reason.OUT_OF_RANGE

    def test_a_locked_group_has_a_status_of_its_own(self, cluster: SmallCluster) -> None:
        settings = GroupSettings(max_standbys=0)
        cluster.run(GroupCreate(NS, S, G, GroupMode.EXCLUSIVE, settings=settings))
        assert cluster.run(GroupJoin(NS, S, G, b"one")) == Done()
        answer = cluster.run(GroupJoin(NS, S, G, b"two"))
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.ran) == (Status.GROUP_LOCKED, Ran.NO)

    def test_too_many_headers_are_refused(self, cluster: SmallCluster) -> None:
        items = [
            StreamItem(b"", ((b"n", b"v"),) * count) for count in (HEADERS_MAX, HEADERS_MAX + 1)
        ]
        assert isinstance(cluster.run(StreamAppend(NS, S, (items[0],))), Appended)
        assert reason(cluster.run(StreamAppend(NS, S, tuple(items)))) is Reason.OUT_OF_RANGE

    def test_too_many_ids_are_refused(self, cluster: SmallCluster) -> None:
        ids = (StreamId(1, 1),) * (IDS_MAX + 1)
        assert reason(cluster.run(GroupAck(NS, S, G, b"c", ids))) is Reason.OUT_OF_RANGE

    @pytest.mark.parametrize("body", [StreamInfo(NS, b"_sys:x"), GroupInfo(NS, b"_flo:x", G)])
    def test_reserved_names_are_not_served(self, cluster: SmallCluster, body: Body) -> None:
        assert reason(cluster.run(body)) is Reason.RESERVED_KEY

    @pytest.mark.parametrize("node", [1, 2])
    def test_v2_answers_as_much_as_its_frames_hold(self, cluster: SmallCluster, node: int) -> None:
        for _ in range(8):
            append(cluster, bytes(50_000))
        answer = cluster.run(StreamRead(NS, S), revision=2, node=node)
        assert len(payloads(answer)) == 5
        assert len(payloads(cluster.run(StreamRead(NS, S), node=node))) == 8
        answer = cluster.run(GroupRead(NS, S, G, b"c"), revision=2, node=node)
        assert len(payloads(answer)) == 5
        answer = cluster.run(GroupClaim(NS, S, G, b"c", 0), revision=2, node=node)
        assert isinstance(answer, Claimed)
        assert len(answer.records) == 5
        assert answer.cursor is None


class TestPlacement:
    def test_dead_letters_live_where_their_stream_does(self, cluster: SmallCluster) -> None:
        for number in range(8):
            stream = b"s%d" % number
            append(cluster, b"x", stream=stream)
            cluster.run(GroupCreate(NS, stream, G, settings=GroupSettings(max_deliver=1)))
            answer = cluster.run(GroupRead(NS, stream, G, b"c"))
            assert isinstance(answer, Records)
            cluster.run(GroupNack(NS, stream, G, b"", (answer.records[0].id,)))
            letters = cluster.run(StreamRead(NS, stream + b".dlq"))
            assert payloads(letters) == [b"x"]

    def test_it_is_one_partition_however_many_the_stream_has(self, cluster: SmallCluster) -> None:
        cluster.run(StreamCreate(NS, S, partitions=16))
        for number in range(16):
            cluster.run(StreamAppend(NS, S, (StreamItem(b"%d" % number),), partition=number))
        assert payloads(cluster.run(StreamRead(NS, S))) == [b"%d" % number for number in range(16)]
        assert payloads(cluster.run(StreamRead(NS, S, partition=7))) == [b"7"]
        assert stream_home(b"s.dlq") == S


class TestListing:
    def test_of_all_partitions_in_byte_order(self, cluster: SmallCluster) -> None:
        names = [b"n%02d" % number for number in range(30)]
        for name in reversed(names):
            append(cluster, b"x", b"yz", stream=name)
        append(cluster, b"x", stream=b"other")
        listed: list[bytes] = []
        cursor = b""
        for _ in range(5):
            answer = cluster.run(StreamList(NS, b"n", 7, cursor))
            assert isinstance(answer, StreamListing)
            listed += [each.name for each in answer.streams]
            assert all(each[1:4] == (2, 3, 1) for each in answer.streams)
            assert all(each.last.timestamp_ms > 0 for each in answer.streams)
            if answer.cursor is None:
                break
            cursor = answer.cursor
        assert listed == names

    def test_a_bad_cursor(self, cluster: SmallCluster) -> None:
        assert reason(cluster.run(StreamList(NS, cursor=b"?"))) is Reason.MALFORMED


@pytest.mark.parametrize("node", [1, 2], ids=["at one node", "at the other"])
class TestWaitingRead:
    def test_what_is_there_is_answered_at_once(self, cluster: SmallCluster, node: int) -> None:
        append(cluster, b"a")
        assert payloads(start(cluster, StreamRead(NS, S, wait_ms=1000), node).answer) == [b"a"]

    def test_an_append_wakes_it(self, cluster: SmallCluster, node: int) -> None:
        answers = [start(cluster, StreamRead(NS, S, wait_ms=1000), node) for _ in range(3)]
        append(cluster, b"x", stream=b"other")
        assert not any(each.given for each in answers)
        append(cluster, b"a", b"b")
        assert [payloads(each.answer) for each in answers] == [[b"a", b"b"]] * 3
        assert waiting(cluster) == 0

    def test_only_a_record_in_its_range_is_an_answer(
        self, cluster: SmallCluster, node: int
    ) -> None:
        cluster.run(StreamCreate(NS, S, partitions=2))
        first = append(cluster, b"a")
        after = StreamId(first.timestamp_ms, first.sequence + 1)
        answers = start(cluster, StreamRead(NS, S, after, partition=1, wait_ms=1000), node)
        append(cluster, b"of partition 0")
        assert not answers.given
        cluster.run(StreamAppend(NS, S, (StreamItem(b"b"),), partition=1))
        assert payloads(answers.answer) == [b"b"]

    def test_its_time_ends(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, StreamRead(NS, S, wait_ms=1000), node)
        cluster.tick(0.9)
        assert not answers.given
        cluster.tick(0.2)
        assert answers.answer == Records(())
        assert waiting(cluster) == 0

    def test_a_cancelled_one_leaves_nothing(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, StreamRead(NS, S, wait_ms=1000), node)
        assert answers.call is not None
        answers.call.cancel()
        cluster.settle()
        assert waiting(cluster) == 0
        append(cluster, b"a")
        assert not answers.given

    def test_tail_is_what_comes_after_the_request(self, cluster: SmallCluster, node: int) -> None:
        append(cluster, b"before")
        assert cluster.run(StreamRead(NS, S, tail=True), node=node) == Records(())
        answers = start(cluster, StreamRead(NS, S, tail=True, wait_ms=1000), node)
        assert not answers.given
        append(cluster, b"after")
        assert payloads(answers.answer) == [b"after"]

    def test_tail_of_an_unknown_stream(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, StreamRead(NS, S, tail=True, wait_ms=1000), node)
        append(cluster, b"a")
        assert payloads(answers.answer) == [b"a"]

    def test_tail_misses_nothing_when_the_leader_changes(
        self, cluster: SmallCluster, node: int
    ) -> None:
        append(cluster, b"before")
        answers = start(cluster, StreamRead(NS, S, tail=True, wait_ms=1000), node)
        lose_leadership(cluster)
        # The record comes while the call looks for the leader.
        news = list(cluster.on_wire)
        cluster.on_wire.clear()
        owner = cluster.replicas[partition_of(NS, S, 4)][0]
        cluster.run(StreamAppend(NS, S, (StreamItem(b"between"),)), node=owner)
        assert not answers.given
        cluster.on_wire.extend(news)
        cluster.tick()
        assert payloads(answers.answer) == [b"between"]


@pytest.mark.parametrize("node", [1, 2], ids=["at one node", "at the other"])
class TestWaitingGroupRead:
    def read(self, cluster: SmallCluster, consumer: bytes, node: int, limit: int = 1) -> Answers:
        return start(cluster, GroupRead(NS, S, G, consumer, limit, wait_ms=60_000), node)

    def test_an_append_wakes_as_many_as_it_has_records(
        self, cluster: SmallCluster, node: int
    ) -> None:
        answers = [self.read(cluster, b"c%d" % number, node) for number in range(3)]
        append(cluster, b"a", b"b")
        assert [payloads(each.answer) for each in answers[:2]] == [[b"a"], [b"b"]]
        assert not answers[2].given
        append(cluster, b"c")
        assert payloads(answers[2].answer) == [b"c"]

    def test_each_group_has_every_record(self, cluster: SmallCluster, node: int) -> None:
        answers = [
            start(cluster, GroupRead(NS, S, group, b"c", wait_ms=1000), node)
            for group in (b"g1", b"g2", b"g3")
        ]
        append(cluster, b"a")
        assert [payloads(each.answer) for each in answers] == [[b"a"]] * 3

    def test_a_nack_wakes_it(self, cluster: SmallCluster, node: int) -> None:
        of = append(cluster, b"a")
        assert taken(cluster, b"one") == [b"a"]
        answers = self.read(cluster, b"two", node)
        assert not answers.given
        cluster.run(GroupNack(NS, S, G, b"one", (of,)))
        assert payloads(answers.answer) == [b"a"]

    def test_time_alone_wakes_it(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(GroupCreate(NS, S, G, settings=GroupSettings(ack_timeout_ms=2000)))
        append(cluster, b"a")
        assert taken(cluster, b"one") == [b"a"]
        answers = self.read(cluster, b"two", node)
        cluster.tick(1.9)
        assert not answers.given
        cluster.tick(0.2)
        cluster.tick()
        assert payloads(answers.answer) == [b"a"]

    def test_its_time_ends(self, cluster: SmallCluster, node: int) -> None:
        answers = start(cluster, GroupRead(NS, S, G, b"c", wait_ms=1000), node)
        cluster.tick(1.1)
        assert answers.answer == Records(())
        append(cluster, b"a")
        assert taken(cluster, b"other") == [b"a"]

    def test_a_cancelled_one_takes_nothing(self, cluster: SmallCluster, node: int) -> None:
        first = self.read(cluster, b"one", node)
        second = self.read(cluster, b"two", node)
        assert first.call is not None
        first.call.cancel()
        cluster.settle()
        append(cluster, b"a")
        assert not first.given
        assert payloads(second.answer) == [b"a"]
        pending = cluster.run(GroupPending(NS, S, G))
        assert isinstance(pending, PendingList)
        assert [entry.consumer for entry in pending.entries] == [b"two"]

    def test_it_finds_the_next_leader(self, cluster: SmallCluster, node: int) -> None:
        answers = self.read(cluster, b"c", node)
        lose_leadership(cluster)
        cluster.tick()
        assert not answers.given
        append(cluster, b"a")
        assert payloads(answers.answer) == [b"a"]

    def test_a_batch_that_is_not_all_taken_wakes_the_next(
        self, cluster: SmallCluster, node: int
    ) -> None:
        answers = [self.read(cluster, b"c%d" % number, node, limit=2) for number in range(3)]
        append(cluster, *(b"%d" % number for number in range(5)))
        assert [payloads(each.answer) for each in answers] == [[b"0", b"1"], [b"2", b"3"], [b"4"]]


class TestWaitingByMode:
    def read(self, cluster: SmallCluster, consumer: bytes, node: int = 1) -> Answers:
        return start(cluster, GroupRead(NS, S, G, consumer, 1, wait_ms=200_000), node)

    @pytest.mark.parametrize("node", [1, 2])
    def test_who_stands_by_keeps_nobody_from_the_records(
        self, cluster: SmallCluster, node: int
    ) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.EXCLUSIVE))
        assert taken(cluster, b"holder") == []
        standbys = [self.read(cluster, b"standby %d" % number, node) for number in range(2)]
        holder = self.read(cluster, b"holder", node)
        append(cluster, b"a")
        assert payloads(holder.answer) == [b"a"]
        assert not any(each.given for each in standbys)

    def test_the_first_who_stands_by_takes_over(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.EXCLUSIVE))
        append(cluster, b"a", b"b")
        assert taken(cluster, b"holder", 1) == [b"a"]
        standbys = [self.read(cluster, b"standby %d" % number) for number in range(2)]
        cluster.tick(29.0)
        assert not standbys[0].given
        cluster.tick(1.1)
        cluster.tick()
        assert payloads(standbys[0].answer) == [b"a"], "what the holder had comes first"
        assert not standbys[1].given
        cluster.run(GroupLeave(NS, S, G, b"standby 0"))
        assert payloads(standbys[1].answer) == [b"a"]

    @pytest.mark.parametrize("node", [1, 2])
    def test_a_holder_that_waits_keeps_the_group(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.EXCLUSIVE))
        append(cluster, b"a")
        assert taken(cluster, b"holder") == [b"a"], "and works on it for minutes"
        holder, other = self.read(cluster, b"holder", node), self.read(cluster, b"other", node)
        for _ in range(150):
            cluster.tick(1.0)
        append(cluster, b"b")
        assert payloads(holder.answer) == [b"b"]
        assert not other.given

    def test_a_holder_that_slept_too_long_makes_way(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.EXCLUSIVE))
        sleeper = self.read(cluster, b"sleeper")
        cluster.tick(31.0)
        cluster.tick()
        new = self.read(cluster, b"new")
        append(cluster, b"a")
        assert payloads(new.answer) == [b"a"]
        assert not sleeper.given

    @pytest.mark.parametrize("node", [1, 2])
    def test_a_record_wakes_who_may_have_its_key(self, cluster: SmallCluster, node: int) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED))
        item = (StreamItem(b"1"),)
        cluster.run(StreamAppend(NS, S, item, partition_key=b"k"))
        assert taken(cluster, b"owner") == [b"1"]
        other = self.read(cluster, b"other", node)
        owner = self.read(cluster, b"owner", node)
        cluster.run(StreamAppend(NS, S, (StreamItem(b"2"),), partition_key=b"k"))
        assert payloads(owner.answer) == [b"2"]
        assert not other.given

    def test_a_record_wakes_no_more_than_can_have_it(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED))
        waiting = [self.read(cluster, b"c%d" % number) for number in range(5)]
        stream = partition_of(NS, S, 4)
        owner = cluster.nodes[cluster.replicas[stream][0]].partitions[stream]
        for number in range(1, 4):
            before = owner.commands_applied
            append(cluster, b"x")
            assert owner.commands_applied == before + 2, "the append and one read"
            assert [bool(each.given) for each in waiting] == [n < number for n in range(5)]

    def test_what_one_was_refused_is_for_the_next_of_its_group(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED))
        first, second = (self.read(cluster, name) for name in (b"first", b"second"))
        stream = partition_of(NS, S, 4)
        owner = cluster.nodes[cluster.replicas[stream][0]].partitions[stream]
        with monkeypatch.context() as patched:
            wake_in_vain(patched, owner)
            append(cluster, b"x")
        assert first.call is not None
        first.call.cancel()
        cluster.settle()
        cluster.tick()
        assert payloads(second.answer) == [b"x"]

    def test_a_trim_that_frees_a_key_wakes_who_waits_for_it(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED))
        both = (StreamItem(b"1"), StreamItem(b"2"))
        appended = cluster.run(StreamAppend(NS, S, both, partition_key=b"k"))
        assert isinstance(appended, Appended)
        assert payloads(cluster.run(GroupRead(NS, S, G, b"owner", 1))) == [b"1"]
        other = self.read(cluster, b"other")
        cluster.run(StreamTrim(NS, S, before=appended.id))
        assert payloads(other.answer) == [b"2"]

    def test_what_one_client_cannot_take_goes_to_another(self) -> None:
        wal = WalConfig(segment_bytes=8 << 20, batch_bytes_max=2 << 20, groups_max=8)
        cluster = SmallCluster(wal_config=wal)
        body = GroupRead(NS, S, G, b"small", 1, wait_ms=200_000)
        small = cluster.start(body, revision=2)
        cluster.settle()
        large = self.read(cluster, b"large")
        append(cluster, bytes(300_000))
        assert reason(small.answer) is Reason.FIELD_TOO_LONG
        assert payloads(large.answer) == [bytes(300_000)]

    def test_an_ack_that_frees_a_key_wakes_who_waits_for_it(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, GroupMode.KEY_SHARED))
        both = (StreamItem(b"1"), StreamItem(b"2"))
        cluster.run(StreamAppend(NS, S, both, partition_key=b"k"))
        answer = cluster.run(GroupRead(NS, S, G, b"owner", 1))
        assert isinstance(answer, Records)
        other = self.read(cluster, b"other")
        assert not other.given
        cluster.run(GroupAck(NS, S, G, b"owner", (answer.records[0].id,)))
        assert payloads(other.answer) == [b"2"]


class TestHousekeeping:
    """What is due happens though nothing comes and nobody waits."""

    def test_leases_end(self, cluster: SmallCluster) -> None:
        cluster.run(GroupCreate(NS, S, G, settings=GroupSettings(100, 1)))
        append(cluster, b"a")
        taken(cluster, b"c")
        cluster.tick(0.1)
        for _ in range(3):
            cluster.tick(0.6)
        stream = partition_of(NS, S, 4)
        owner = cluster.nodes[cluster.replicas[stream][0]].partitions[stream]
        assert owner.replica.due_ms == 2**64 - 1
        assert payloads(cluster.run(StreamRead(NS, b"s.dlq"))) == [b"a"]

    def test_old_records_go(self, cluster: SmallCluster) -> None:
        cluster.run(StreamCreate(NS, S, retention=Retention(max_age_s=1)))
        append(cluster, *[b"x"] * 1000)
        for _ in range(12):
            cluster.tick(0.5)
        stream = partition_of(NS, S, 4)
        owner = cluster.nodes[cluster.replicas[stream][0]].partitions[stream]
        assert owner.replica.due_ms == 2**64 - 1
        assert payloads(cluster.run(StreamRead(NS, S))) == []


def test_too_many_that_wait_are_refused() -> None:
    cluster = SmallCluster(limits=Limits(partition_waiting_max=1))
    start(cluster, StreamRead(NS, S, wait_ms=1000))
    assert reason(start(cluster, StreamRead(NS, S, wait_ms=1000)).answer) is Reason.TOO_MANY_WAITERS
