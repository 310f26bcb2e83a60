"""Three simulated nodes that count what they do.

Log, Raft layer, state machine, turns and router are the real ones; clock, network and disk are
those of the simulation, so that the same requests give the same counts on any machine. Time goes in
rounds: one takes a message to another node, or an answer to its client, and covers a sync.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cluster.config import Limits
from cluster.node import TICK_S
from cluster.raft.types import GroupConfig
from cluster.storage.wal_config import WalConfig
from flo.wire.connection import Request
from flo.wire.messages import CallContext
from flo.wire.registry import OP_OF_REQUEST
from tests.simulation.node import Setup
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from cluster.operation import Answer
    from cluster.state.store import ReadTransaction, Store, Table, WriteTransaction
    from cluster.storage.files import Bytes, File, Storage
    from flo.wire.messages import Body

COUNTERS: tuple[str, ...] = (
    "rounds",
    "entries",
    "syncs",
    "log_bytes",
    "frames",
    "messages",
    "message_bytes",
    "reads",
    "commits",
    "gets",
    "puts",
    "deletes",
    "seeks",
    "moves",
)
"""Rounds and Raft entries; what all nodes do with their logs and send to each other; and what they
ask of LMDB: read transactions, commits, gets, puts, deletes, cursors set, and rows read with them.
What is written again before it is stored is put once.
"""

REPLICAS = ((1, 2, 3), (2, 3, 1), (3, 1, 2))
"""Of three partitions: each node leads one."""

_ROUND_S = 0.000_5
_TICK_ROUNDS = round(TICK_S / _ROUND_S)
_CONTEXT = CallContext()
_PASSES_MAX = 100
"""Of a node's event loop in a round: it has nothing more to do long before."""
_ROUNDS_MAX = 100_000
"""For everything that is asked of one cluster, and more."""


class _CountedFile:
    """A file of the log."""

    def __init__(self, file: File, counts: Counter[str]) -> None:
        self._file = file
        self._counts = counts
        self.read_at = file.read_at
        self.size = file.size
        self.close = file.close

    def write_at(self, offset: int, data: Bytes) -> None:
        self._counts["log_bytes"] += len(data)
        self._file.write_at(offset, data)

    def sync(self) -> None:
        self._counts["syncs"] += 1
        self._file.sync()


class _CountedFiles:
    """The directory of a log."""

    def __init__(self, counts: Counter[str], files: Storage) -> None:
        self._files = files
        self._counts = counts
        self.list = files.list
        self.rename = files.rename
        self.remove = files.remove

    def open(self, name: str) -> _CountedFile:
        return _CountedFile(self._files.open(name), self._counts)

    def create(self, name: str) -> _CountedFile:
        return _CountedFile(self._files.create(name), self._counts)

    def sync_directory(self) -> None:
        self._counts["syncs"] += 1
        self._files.sync_directory()


class _CountedRead:
    """A transaction that reads: each call is one of LMDB."""

    def __init__(self, counts: Counter[str], txn: ReadTransaction) -> None:
        self._counts = counts
        self._txn = txn

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._counts["gets"] += 1
        return self._txn.get(table, key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._counts["seeks"] += 1
        return self._counted(self._txn.scan(table, start))

    def _counted(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for row in rows:
            self._counts["moves"] += 1
            yield row


class _CountedWrite(_CountedRead):
    """A transaction that writes."""

    def __init__(self, counts: Counter[str], txn: WriteTransaction) -> None:
        super().__init__(counts, txn)
        self._writing = txn

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._counts["puts"] += 1
        self._writing.put(table, key, value)

    insert = put

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        counted = list(rows)
        self._counts["puts"] += len(counted)
        self._writing.put_all(table, counted)

    def delete(self, table: Table, key: bytes) -> bool:
        self._counts["deletes"] += 1
        return self._writing.delete(table, key)


class _CountedStore:
    """The state of a replica."""

    def __init__(self, counts: Counter[str], store: Store) -> None:
        self._counts = counts
        self._store = store
        self.close = store.close

    @contextmanager
    def read(self) -> Generator[_CountedRead]:
        self._counts["reads"] += 1
        with self._store.read() as txn:
            yield _CountedRead(self._counts, txn)

    @contextmanager
    def write(self) -> Generator[_CountedWrite]:
        with self._store.write() as txn:
            yield _CountedWrite(self._counts, txn)
        self._counts["commits"] += 1


class _Asked(NamedTuple):
    node: int
    body: Body
    done: Callable[[Answer], None]


class CountedCluster:
    """Three nodes with the settings of real ones, each of which leads a partition."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._asked: list[_Asked] = []
        self._steps = 0
        group = GroupConfig(0, 1, (1,))
        setup = Setup(
            limits=Limits(),
            # All in one segment: making the next one would count, in some runs.
            wal=WalConfig(segment_bytes=8 << 20, batch_bytes_max=2 << 20, groups_max=4),
            message_bytes=group.message_bytes,
            window_bytes=group.window_bytes,
            files=partial(_CountedFiles, self._counts),
            state=partial(_CountedStore, self._counts),
        )
        self._world = World(1, 3, log_bytes_max=1 << 40, replicas=REPLICAS, setup=setup)
        for pair in self._world.pairs:
            self._world.connect(*pair)
        while not self._is_led_as_preferred():
            self._step(TICK_S, ticks=True)
        self.settle()

    def counts(self) -> Counter[str]:
        """All so far; see `COUNTERS`."""
        counts = self._counts.copy()
        counts["entries"] = sum(self._last_index(number) for number in range(len(REPLICAS)))
        counts["frames"] = sum(link.writes for link in self._world.links.values())
        return counts

    def ask(self, partition: int, body: Body, done: Callable[[Answer], None]) -> None:
        """A request leaves a client; it is at the partition's leader in the next round."""
        self._asked.append(_Asked(REPLICAS[partition][0], body, done))

    def round(self) -> None:
        """Everything that was sent arrives, and is worked off. Raises when a node has failed."""
        self._counts["rounds"] += 1
        self._step_on()

    def settle(self) -> None:
        """Until all nodes have applied everything, and nothing is under way. No rounds count."""
        while not self._is_settled():
            self._step_on()
        self._world.check()

    def store(self) -> None:
        """All nodes bring to their stores what they have applied, as they do from time to time."""
        for node in self._world.nodes.values():
            for partition in node.partitions.values():
                partition.store()

    def _step_on(self) -> None:
        self._steps += 1
        assert self._steps < _ROUNDS_MAX, "the nodes do not come to an end"
        self._step(_ROUND_S, ticks=self._steps % _TICK_ROUNDS == 0)

    def _step(self, seconds: float, *, ticks: bool) -> None:
        world = self._world
        world.clock.now += seconds
        asked, self._asked = self._asked, []
        for node, body, done in asked:
            world.nodes[node].ask(Request(1, 0, OP_OF_REQUEST[type(body)], body, _CONTEXT), done)
        for (sender, node), link in world.links.items():
            self._counts["messages"] += len(link.queue)
            self._counts["message_bytes"] += sum(map(len, link.queue))
            world.deliver(sender, node, len(link.queue))
        for each in world.nodes.values():
            if ticks:
                each.tick()
            passes = 0
            while each.callbacks:
                each.run_callbacks()
                passes += 1
                assert passes < _PASSES_MAX, f"node {each.node_id} does not come to rest"
            assert each.failure is None, f"node {each.node_id}: {each.failure!r}"

    # --- what is known from outside ---

    def _last_index(self, partition: int) -> int:
        leader = self._world.nodes[REPLICAS[partition][0]]
        return leader.wal.group(partition).last_index

    def _is_led_as_preferred(self) -> bool:
        nodes = self._world.nodes
        return all(
            nodes[replicas[0]].partitions[number].group.is_ready
            for number, replicas in enumerate(REPLICAS)
        )

    def _is_settled(self) -> bool:
        if self._asked or any(link.queue for link in self._world.links.values()):
            return False
        return all(
            node.partitions[number].replica.applied_index == self._last_index(number)
            for node in self._world.nodes.values()
            for number in range(len(REPLICAS))
        )
