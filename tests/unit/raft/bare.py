"""The bare library over links that a test steps by hand, to show what goes wrong without ours.

Nothing of the library is changed but its clock and its transport; applying a command only
records its bytes. All times are seconds of a simulated clock.
"""

import importlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, cast

from pysyncobj import SyncObj
from pysyncobj.config import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from cluster.raft.core import use_clock

Message = Mapping[str, object]
LogEntry = tuple[bytes, int, int]
Callback = Callable[[object, object], None]

REGULAR, NOOP, MEMBERSHIP, VERSION = 0, 1, 2, 3
"""The library's kinds of entries: the first byte of each."""
SUCCESS = 0
_NEVER_S = 1e9


class BareJournal(Protocol):
    """What the tests use of the library's journals."""

    def add(self, command: bytes, idx: int, term: int) -> None: ...
    def clear(self) -> None: ...
    def deleteEntriesTo(self, entryTo: int) -> None: ...
    def setCurrentTerm(self, term: int, votedForNodeId: int | None) -> None: ...
    def getCurrentTerm(self) -> int: ...
    def getVotedForNodeId(self) -> int | None: ...
    def __getitem__(self, item: int) -> LogEntry: ...
    def __len__(self) -> int: ...


def file_journal(path: str) -> BareJournal:
    """The library's journal in a file."""
    return cast(BareJournal, importlib.import_module("pysyncobj.journal").FileJournal(path))


def call(owner: object, name: str, *arguments: object) -> object:
    """Calls a method that the library or our core keeps private."""
    method = cast(Callable[..., object], getattr(owner, name))
    return method(*arguments)


def close(*journals: BareJournal) -> None:
    for journal in journals:
        call(journal, "_destroy")


def pickled(value: object) -> bytes:
    """As the library writes it into membership and version entries."""
    return cast(bytes, importlib.import_module("pysyncobj.pickle").dumps(value))


class _BareTransport(Transport):
    ready = True

    def __init__(self, net: "BareNet", me: int) -> None:
        super().__init__(None, None, ())
        self._net = net
        self._me = me
        self.connected: set[int] = set()

    def send(self, node: Node, message: Message) -> bool:
        if node.id not in self.connected:
            return False
        if (self._me, node.id) not in self._net.cut:
            self._net.links[self._me, node.id].append(message)
        return True

    def addNode(self, node: Node) -> None:
        """Membership changed; links are made by the test."""

    def dropNode(self, node: Node) -> None:
        """Membership changed; links are cut by the test."""

    def receive(self, sender: int, message: Message) -> None:
        self._onMessageReceived(Node(sender), message)

    def up(self, peer: int) -> None:
        self.connected.add(peer)
        self._onNodeConnected(Node(peer))

    def down(self, peer: int) -> None:
        self.connected.discard(peer)
        self._onNodeDisconnected(Node(peer))

    def destroy(self) -> None:
        """Nothing to close."""


class BareNode(SyncObj):
    """One `SyncObj`; `applied` are the payloads of the commands it applied."""

    def __init__(
        self, net: "BareNet", me: int, others: Iterable[int], options: Mapping[str, object]
    ) -> None:
        self.me = me
        self.transport = _BareTransport(net, me)
        self.apply_hook: Callable[[bytes], None] = _accept
        arguments: dict[str, object] = {"appendEntriesUseBatch": False, **options}
        # The options of a test are not those that the stub of the configuration knows.
        make = cast(Callable[..., SyncObjConf], SyncObjConf)
        conf = make(autoTick=False, **arguments)
        super().__init__(
            Node(me), [Node(other) for other in others], conf=conf, transport=self.transport
        )
        # After the library's own fields, so that its snapshots hold it.
        self.applied: list[bytes] = []

    def put(self, payload: bytes, callback: Callback | None = None) -> None:
        self._applyCommand(payload, callback, REGULAR)

    def _SyncObj__doApplyCommand(self, command: bytes) -> object:
        if command[0] != REGULAR:
            return super()._SyncObj__doApplyCommand(command)
        self.apply_hook(command[1:])
        self.applied.append(command[1:])
        return len(self.applied)

    @property
    def journal(self) -> BareJournal:
        return cast(BareJournal, self.private("raftLog"))

    @property
    def log(self) -> list[tuple[int, int]]:
        """(index, term) of every entry."""
        journal = self.journal
        return [journal[i][1:] for i in range(len(journal))]

    @property
    def commit_index(self) -> int:
        return self.raftCommitIndex

    @property
    def last_applied(self) -> int:
        return cast(int, self.private("raftLastApplied"))

    def compact(self) -> None:
        """At its next tick."""
        call(self, "forceLogCompaction")

    @property
    def is_leader(self) -> bool:
        return self._isLeader()

    def match_index(self, peer: int) -> int:
        return cast(dict[Node, int], self.private("raftMatchIndex"))[Node(peer)]

    def members(self) -> set[int]:
        return {node.id for node in cast(set[Node], self.private("otherNodes"))}

    def private(self, name: str) -> object:
        return getattr(self, "_SyncObj__" + name)

    def set_private(self, name: str, value: object) -> None:
        setattr(self, "_SyncObj__" + name, value)

    def wait_forever(self) -> None:
        """Never campaigns by itself."""
        self.set_private("raftElectionDeadline", _NEVER_S)

    def campaign_at_next_tick(self) -> None:
        self.set_private("raftElectionDeadline", 0.0)


def _accept(payload: bytes) -> None:
    """Applying only records."""


class BareNet:
    """Nodes, FIFO links and the clock. A link in `cut` loses what is sent from now on."""

    def __init__(self, nodes: Iterable[int], **options: object) -> None:
        self.now = 1000.0
        self.reading_s = 2e-6
        """By how much the clock moves each time it is read."""
        self.links: defaultdict[tuple[int, int], deque[Message]] = defaultdict(deque)
        self.cut: set[tuple[int, int]] = set()
        self.nodes: dict[int, BareNode] = {}
        self.options = options
        self._use_clock()
        ids = list(nodes)
        for me in ids:
            self.add(me, ids)
        for a in ids:
            for b in ids:
                if a < b:
                    self.connect(a, b)

    def add(self, me: int, ids: Iterable[int], **more: object) -> BareNode:
        """A new process of node `me`; the old one, if any, is gone."""
        self._use_clock()
        others = [other for other in ids if other != me]
        node = BareNode(self, me, others, {**self.options, **more})
        node.wait_forever()
        self.nodes[me] = node
        return node

    def __getitem__(self, node: int) -> BareNode:
        return self.nodes[node]

    def monotonic(self) -> float:
        # The library's sending loop ends only because time passes.
        self.now += self.reading_s
        return self.now

    def connect(self, a: int, b: int) -> None:
        for me, peer in ((a, b), (b, a)):
            self.nodes[me].transport.up(peer)

    def disconnect(self, a: int, b: int) -> None:
        for me, peer in ((a, b), (b, a)):
            self.links[me, peer].clear()
            self.nodes[me].transport.down(peer)

    def isolate(self, node: int) -> None:
        for other in self.nodes:
            if other != node:
                self.disconnect(node, other)

    def tick(self, node: int, *, after_s: float = 0.01) -> None:
        self.now += after_s
        self._use_clock()
        self.nodes[node].doTick(0)

    def deliver(self, a: int, b: int, count: int | None = None) -> int:
        """Delivers the oldest messages from `a` to `b`, all of them without a count."""
        queue, delivered = self.links[a, b], 0
        while queue and (count is None or delivered < count):
            self.receive(b, a, queue.popleft())
            delivered += 1
        return delivered

    def receive(self, node: int, sender: int, message: Message) -> None:
        self._use_clock()
        self.nodes[node].transport.receive(sender, message)

    def run(self, nodes: Iterable[int] | None = None, *, rounds: int = 40) -> None:
        """Ticks and delivers among `nodes` until nothing is left to do."""
        ids = list(self.nodes if nodes is None else nodes)
        for _ in range(rounds):
            for node in ids:
                self.tick(node)
            for a in ids:
                for b in ids:
                    if a != b:
                        self.deliver(a, b)

    def elect(self, node: int, among: Iterable[int] | None = None) -> None:
        self.wait_forever()
        self.nodes[node].campaign_at_next_tick()
        self.run(among, rounds=4)
        self.wait_forever()
        assert self.nodes[node].is_leader

    def wait_forever(self) -> None:
        """Nobody campaigns by itself until it hears a leader again."""
        for node in self.nodes.values():
            node.wait_forever()

    def _use_clock(self) -> None:
        use_clock(self.monotonic)
