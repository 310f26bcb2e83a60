"""What commands cost beside their bytes bounds what one entry, and one turn, does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.config import Limits
from cluster.room import Room
from cluster.sizes import bytes_of, work_of
from cluster.state.commands import JSON_DELETE, JSON_SET, PUT, Command, encode_entry
from cluster.state.fields import Each, ListOf
from cluster.state.group_commands import FIELDS as GROUP_FIELDS
from cluster.state.queue_commands import ACK, DEQUEUE, ENQUEUE_BATCH
from cluster.state.queue_commands import FIELDS as QUEUE_FIELDS
from cluster.state.stream_commands import FIELDS as STREAM_FIELDS
from cluster.state.txn_commands import TXN_COMMIT
from cluster.state.work import ROWS_AT, rows_of
from cluster.storage.wal_config import WalConfig
from cluster.waiting_commands import WaitingCommands
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted
from flo.wire.messages import KvPut, Stored
from flo.wire.queue_messages import QueueAck, QueueEnqueue
from flo.wire.routing import partition_of
from flo.wire.status import Reason, Refusal
from tests.unit.node.kit import ManualClock
from tests.unit.node.small_cluster import SmallCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.state.commands import Result
    from cluster.storage.records import Entry

NS = b"default"
JOBS = b"jobs"
SEQUENCES = tuple(range(2**63, 2**63 + 10_000))
ACK_MANY: Command = (ACK, 0, 0, 0, NS, JOBS, SEQUENCES)


class NobodyWaits:
    def on_result(self, result: object) -> None: ...
    def on_not_leader(self, leader: int) -> None: ...
    def on_unknown(self) -> None: ...


def test_every_command_with_a_list_is_weighed() -> None:
    with_lists = {
        code: place
        for code, layout in (QUEUE_FIELDS | STREAM_FIELDS | GROUP_FIELDS).items()
        for place, field in enumerate(layout)
        if isinstance(field, Each | ListOf)
    }
    assert with_lists.items() <= ROWS_AT.items()


def test_rows_are_counted() -> None:
    assert rows_of(ACK_MANY) == 10_000
    assert rows_of((DEQUEUE, 0, 0, 0, NS, JOBS, 100, None, 1)) == 100
    assert rows_of((ENQUEUE_BATCH, 0, 0, 0, NS, JOBS, ((b"", 0, 0, None),) * 7)) == 7


def test_numbers_take_no_more_in_the_log_than_is_counted() -> None:
    encoded = len(encode_entry(2**63, [ACK_MANY]))
    assert 4 * bytes_of(ACK_MANY) > encoded
    assert bytes_of(ACK_MANY) > encoded - 100


def test_what_a_transaction_carries_is_counted() -> None:
    operation = (PUT, NS, b"key", b"x" * 1000, 0, 0, 7)
    commit = (TXN_COMMIT, 0, 0, 0, 1, (operation,) * 5)
    assert bytes_of(commit) > 5 * 1000
    assert bytes_of((NS, 1, operation)) > 1000


def test_large_transactions_do_not_share_an_entry() -> None:
    cluster = SmallCluster(owners=(1,), nodes=(1,), wal_config=WalConfig(groups_max=8))
    opened: list[int] = []
    for number in range(5):
        begun = cluster.run(TxnBegin(NS, b"{a}"))
        assert isinstance(begun, TxnBegun)
        cluster.run(KvPut(NS, b"{a}%d" % number, bytes(900_000), txn=begun.txn))
        opened.append(begun.txn)
    commits = [cluster.start(TxnCommit(NS, None, txn)) for txn in opened]
    cluster.settle()
    for each in commits:
        refused = isinstance(each.answer, Refusal) and each.answer.reason is Reason.SHARD_BUSY
        assert refused or isinstance(each.answer, TxnCommitted)


def test_commands_about_many_rows_do_not_share_an_entry() -> None:
    commands = WaitingCommands(Limits(), ManualClock(), Room(1 << 30))
    for _ in range(2):
        assert commands.add(ACK_MANY, bytes_of(ACK_MANY), NobodyWaits())
    assert work_of(ACK_MANY) > Limits().batch_bytes_max
    assert [len(commands.next_batch().commands) for _ in range(2)] == [1, 1]


def test_dequeues_of_many_are_cut_as_well() -> None:
    commands = WaitingCommands(Limits(), ManualClock(), Room(1 << 30))
    dequeue: Command = (DEQUEUE, 0, 0, 0, NS, JOBS, 100, None, 1)
    for _ in range(300):
        assert commands.add(dequeue, bytes_of(dequeue), NobodyWaits())
    assert max(len(commands.next_batch().commands) for _ in range(4)) <= 82


@pytest.mark.parametrize(
    "change",
    [
        (JSON_SET, 0, 0, 0, NS, JOBS, b"$.a", b"1", 1 << 20),
        (JSON_DELETE, 0, 0, 0, NS, JOBS, b"$.a"),
    ],
)
def test_few_changes_of_documents_share_an_entry(change: Command) -> None:
    """Each may step through as long a document as there is."""
    commands = WaitingCommands(Limits(), ManualClock(), Room(1 << 30))
    for _ in range(20):
        assert commands.add(change, bytes_of(change), NobodyWaits())
    assert [len(commands.next_batch().commands) for _ in range(3)] == [7, 7, 6]


def test_no_number_of_acknowledgements_stops_a_replica() -> None:
    cluster = SmallCluster(owners=(1, 1, 1, 1), nodes=(1,), wal_config=WalConfig(groups_max=8))
    cluster.run(QueueEnqueue(NS, JOBS, b"x"))
    waiting = [cluster.start(QueueAck(NS, JOBS, SEQUENCES)) for _ in range(60)]
    cluster.settle()
    for asked in waiting:
        (answer,) = asked.given
        assert not isinstance(answer, Refusal) or answer.reason is Reason.SHARD_BUSY
    number = partition_of(NS, JOBS, 4)
    assert cluster.nodes[1].partitions[number].broken is None
    assert isinstance(cluster.run(KvPut(NS, JOBS, b"v")), Stored)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_turn_applies_for_a_short_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """An entry may take long; the next one then waits for the next turn."""
    cluster = SmallCluster(owners=(1, 1, 1, 1), nodes=(1,), limits=Limits(batch_commands_max=1))
    replica = cluster.nodes[1].partitions[partition_of(NS, b"k", 4)].replica
    as_fast_as_it_is = replica.apply
    applied: list[int] = []

    def apply(
        entries: Sequence[Entry], durable_index: int, has_time: Callable[[], bool]
    ) -> list[list[Result]]:
        def still() -> bool:
            cluster.clock.now += seconds
            return has_time()

        results = as_fast_as_it_is(entries, durable_index, still)
        applied.append(len(results))
        return results

    cluster.run(KvPut(NS, b"k", b"opens a session"))
    monkeypatch.setattr(replica, "apply", apply)
    puts = [cluster.start(KvPut(NS, b"k", b"%d" % n)) for n in range(4)]
    cluster.settle()
    assert all(isinstance(put.answer, Stored) for put in puts)
    assert applied == ([1, 1, 1, 1] if seconds else [4])
