"""A cluster in one process: the real log, Raft layer, state machine, turns and router, over a
simulated clock, network and disk. Every fault is a method here; every check of any moment, too."""

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from cluster.compaction import INSTALLING
from cluster.founding import FoundingConfig
from cluster.peers.admission import own_identity
from cluster.peers.frames import FrameDecoder, FrameError, encode_frame
from cluster.peers.identity import RefusalCode
from cluster.raft.types import NodeId
from cluster.storage.memory_files import Crash
from cluster.storage.wal_errors import WalDamaged, WalFailed
from tests.simulation.devices import PowerCut, SimClock, StepExecutor
from tests.simulation.network import Link, is_forwarded, unpacked
from tests.simulation.node import LOG_BYTES_MAX, RARE_THINGS, TRANSFER, Setup, SimNode, address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.partition import Partition
    from cluster.storage.records import Entry

__all__ = ["TRANSFER", "SimNode", "StepExecutor", "World", "unpacked"]


def _nothing(_node_id: NodeId) -> None:
    """Nobody wants to hear of crashes."""


class World:
    """Nodes, links and time. `check` asserts what must hold at any moment."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        *,
        log_bytes_max: int = LOG_BYTES_MAX,
        replicas: tuple[tuple[NodeId, ...], ...] | None = None,
        setup: Setup = RARE_THINGS,
    ) -> None:
        """`replicas`: the nodes of each partition; by default one partition on all nodes."""
        self.log_bytes_max = log_bytes_max
        self.setup = setup
        self.faults: Counter[str] = Counter()
        """How often each kind of fault took effect."""
        self.on_crash: Callable[[NodeId], None] = _nothing
        self.rng = Random(seed)
        """Decides what faults do; the schedule draws from its own."""
        self.clock = SimClock()
        self.node_ids = tuple(range(1, nodes + 1))
        placed = replicas or (self.node_ids,)
        self.founding = FoundingConfig(
            cluster_id="0" * 32,
            cluster_name="simulated",
            zones=dict.fromkeys(self.node_ids, ""),
            replication=len(placed[0]),
            partition_count=len(placed),
            replicas=placed,
        )
        self.links = {(a, b): Link() for a in self.node_ids for b in self.node_ids if a != b}
        self.pairs = [(a, b) for a in self.node_ids for b in self.node_ids if a < b]
        self.parted: set[tuple[NodeId, NodeId]] = set()
        """Pairs that cannot connect."""
        self.link_room = 1 << 30
        """So many messages wait on a link before its sender holds back what can wait."""
        self.clock_leaps = 0
        """Beyond what a session outlives."""
        self.nodes: dict[NodeId, SimNode] = {}
        for node_id in self.node_ids:
            self.nodes[node_id] = SimNode(self, node_id)
        self.leaders: dict[tuple[int, int], NodeId] = {}
        """By partition and term."""
        self.committed: dict[int, dict[int, Entry]] = {number: {} for number in range(len(placed))}
        self._checked: Counter[tuple[NodeId, int]] = Counter()
        self._stamps_ms = [0] * len(placed)

    # --- connections ---

    def connect(self, a: NodeId, b: NodeId) -> None:
        """A new connection, unless there is one that both ends believe in."""
        if self.links[a, b].up and self.links[b, a].up:
            return
        if (min(a, b), max(a, b)) in self.parted:
            return
        if not (self.nodes[a].runs and self.nodes[b].runs):
            return
        ends = ((a, b), (b, a))
        if not all(self._admits(me, other) for me, other in ends):
            return
        for me, other in ends:
            if self.links[me, other].up:
                self.faults["connection replaced"] += 1
                self.lose(me, other)
        for end in ends:
            link = self.links[end]
            link.up, link.cut, link.slow = True, False, False
            link.queue.clear()
        for me, other in ends:
            self.nodes[me].handler.on_connected(other, address_of(other))

    def _admits(self, me: NodeId, other: NodeId) -> bool:
        identity = own_identity(self.nodes[other].directory, address_of(other))
        refused = self.nodes[me].handler.verify(identity)
        if refused is not None:
            assert refused.code == RefusalCode.NOT_READY, refused.message
            self.faults["peer refused"] += 1
        return refused is None

    def disconnect(self, a: NodeId, b: NodeId) -> None:
        """Both ends notice; one that is paused does so later."""
        if not (self.links[a, b].up or self.links[b, a].up):
            return
        self.faults["disconnect"] += 1
        for me, other in ((a, b), (b, a)):
            if self.links[me, other].up and self.nodes[me].runs:
                self.lose(me, other)

    def lose(self, me: NodeId, other: NodeId) -> None:
        """One end notices. What it said may still be read by the other, until that notices too."""
        out, back = self.links[me, other], self.links[other, me]
        out.up = False
        out.unsent.clear()
        back.leave_over()
        back.cut = True
        if not back.up:
            out.leave_over()
        self.nodes[me].handler.on_disconnected(other)

    def later_lost(self, me: NodeId, other: NodeId) -> None:
        """This end has closed its link and hears of that in a later turn of its loop."""

        def lost() -> None:
            if not self.links[me, other].up:
                self.lose(me, other)

        self.nodes[me].callbacks.append(lost)

    def notice_losses(self, me: NodeId, other: NodeId) -> None:
        """An end whose peer has left notices: it reads the end, or has heard nothing for long."""
        if self.links[me, other].up and not self.links[other, me].up and self.nodes[me].runs:
            self.faults["loss noticed late"] += 1
            self.lose(me, other)

    def stamp_ms(self, number: int) -> int:
        """The latest stamp that any replica of a partition has ever applied."""
        found = [
            node.replicas[number].stamp_ms
            for node in self.nodes.values()
            if number in node.replicas
        ]
        self._stamps_ms[number] = max(self._stamps_ms[number], *found)
        return self._stamps_ms[number]

    # --- nodes ---

    def crash(self, node_id: NodeId, mode: Crash) -> None:
        """The process dies; with any other mode than PROCESS the machine does."""
        node = self.nodes[node_id]
        self.faults[f"crash {mode.value}"] += 1
        self.faults["crash with a sync in flight"] += node.executor.has_jobs
        node.alive = False
        for number in node.numbers:
            self.stamp_ms(number)  # Its memory of it goes.
            node.replicas[number].abandon()
        for other in self.node_ids:
            if other != node_id:
                self._break_off(node_id, other)
        node.storage.crash(self.rng, mode)
        if mode is not Crash.PROCESS:
            node.lose_state()
        for number in node.numbers:
            self._checked[node_id, number] = 0
        self.on_crash(node_id)

    def _break_off(self, dead: NodeId, other: NodeId) -> None:
        """The links of a process that has ended: its peer notices at once, or later."""
        out, back = self.links[dead, other], self.links[other, dead]
        out.up, back.cut = False, True
        out.unsent.clear()
        back.queue.clear()
        back.leftovers.clear()
        out.leftovers.clear()
        if back.up and self.rng.random() < 0.5:
            out.queue.clear()
            if self.nodes[other].runs:
                self.lose(other, dead)

    def restart(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.alive:
            return
        try:
            node.start()
        except WalDamaged:
            assert node.damaged, "nothing has touched this log"
            self.faults["bit flip found at the start"] += 1
            self.replace_disk(node_id)  # It is started the next time.
        except PowerCut:
            self.faults["power cut at the start"] += 1
            node.storage.crash(self.rng, self.rng.choice((Crash.SYNCED, Crash.SUBSET)))
        except OSError:
            # Its disk is full: it stays down.
            self.faults["start on a full disk"] += 1
        else:
            node.damaged = False

    def replace_disk(self, node_id: NodeId) -> None:
        """Everything on it is lost; the operator starts the node anew, to be repaired."""
        self.faults["disk lost"] += 1
        self.nodes[node_id].new_disk(generation=int(self.clock.now * 1000))

    def stop_failed(self) -> None:
        """A node whose disk failed has stopped itself; one without power has no choice."""
        for node in self.nodes.values():
            if not node.alive or node.failure is None:
                continue
            if isinstance(node.failure, PowerCut):
                self.crash(node.node_id, self.rng.choice((Crash.SYNCED, Crash.SUBSET)))
            else:
                self.faults["disk failed"] += 1
                self.crash(node.node_id, self.rng.choice(list(Crash)))

    # --- messages ---

    def deliver(self, a: NodeId, b: NodeId, count: int) -> None:
        link, node = self.links[a, b], self.nodes[b]
        if not link.queue or not node.runs or not self.links[b, a].up:
            return
        taken = [link.queue.popleft() for _ in range(min(count, len(link.queue)))]
        node.receive(a, *taken)

    def deliver_leftover(self, a: NodeId, b: NodeId) -> None:
        """A message of a connection that was replaced arrives after all."""
        link, node = self.links[a, b], self.nodes[b]
        if link.leftovers and node.runs:
            self.faults["late message"] += 1
            node.receive(a, link.leftovers.popleft())

    def duplicate(self, a: NodeId, b: NodeId) -> None:
        """A message comes a second time: at once, or whenever leftovers come."""
        link = self.links[a, b]
        messages = [each for each in link.queue if not is_forwarded(each)]
        if messages:
            self.faults["repeated message"] += 1
            self.rng.choice((link.queue, link.leftovers)).append(self.rng.choice(messages))

    def damage(self, a: NodeId, b: NodeId) -> None:
        """A bit of the next frame turns over: its reader closes the connection, or waits for the
        rest of a frame that never comes, until it has heard nothing for too long."""
        link = self.links[a, b]
        if not link.queue or not self.links[b, a].up or not self.nodes[b].runs:
            return
        frame = bytearray(encode_frame([link.queue.popleft()]))
        frame[self.rng.randrange(len(frame))] ^= 1 << self.rng.randrange(8)
        try:
            believed = FrameDecoder().feed(bytes(frame))
        except FrameError:
            believed = []
        assert not believed, f"a damaged frame was believed: {believed}"
        self.faults["bit flip on the way"] += 1
        link.queue.clear()
        self.lose(b, a)

    # --- invariants ---

    def check(self) -> None:
        """One leader per term; what is committed anywhere stays, and is the same everywhere."""
        for node in self.nodes.values():
            failure = node.failure
            assert failure is None or isinstance(failure, OSError | WalFailed), (
                f"node {node.node_id}: {failure!r}"
            )
            if not node.alive or node.has_failed_disk:
                continue
            for number, partition in node.partitions.items():
                if partition.broken != INSTALLING:
                    self._check_replica(node, number, partition)

    def _check_replica(self, node: SimNode, number: int, partition: "Partition") -> None:
        where = f"node {node.node_id}, partition {number}"
        assert partition.broken is None, f"{where}: {partition.broken}"
        term = partition.group.leads_term
        if term:
            leader = self.leaders.setdefault((number, term), node.node_id)
            assert leader == node.node_id, (
                f"partition {number}, term {term} led by {leader} and {node.node_id}"
            )
        log, commit_index = node.wal.group(number), partition.group.commit_index
        applied_index = partition.replica.applied_index
        assert applied_index <= commit_index <= log.durable_index, (
            f"{where}: applied {applied_index}, committed {commit_index},"
            f" synced {log.durable_index}"
        )
        first = max(self._checked[node.node_id, number] + 1, log.first_index)
        if first > commit_index:
            return
        committed = self.committed[number]
        for entry in log.entries(first, commit_index + 1):
            known = committed.setdefault(entry.index, entry)
            assert known == entry, f"{where}: entry {entry.index} is {known} and here {entry}"
        self._checked[node.node_id, number] = commit_index
