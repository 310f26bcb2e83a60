"""One simulated run: random faults and clients from a seed, then a quiet end and the verdict."""

from dataclasses import dataclass, field
from random import Random

from cluster.queries import GET, Result
from cluster.raft.types import NodeId
from cluster.state.commands import INCR, OPEN_SESSION, PUT, SESSION_UNKNOWN, Command
from flo.wire.status import Reason
from tests.simulation.faults import heal, inject_one
from tests.simulation.world import SimNode, World

NAMESPACE = b"sim"
COUNTER = b"counter"
CLIENTS = 3
QUIET_ROUNDS = 3_000


@dataclass
class Client:
    """Increments one shared counter and puts unique values, one call at a time, with a session.

    A call whose outcome is unknown, or that did not run, is repeated with the same triple at any
    node, as a real client does.
    """

    name: int
    rng: Random
    session: int = 0
    token: int = 0
    sequence: int = 0
    waiting: bool = False
    pending: Command | None = None
    acknowledged: list[bytes] = field(default_factory=list[bytes])
    incremented: list[int] = field(default_factory=list[int])
    reads: int = 0
    reading: "Read | None" = None

    def act(self, node: SimNode) -> None:
        """Sends the pending command, or a new one, to `node`."""
        if self.waiting:
            if self.rng.random() < 0.05:
                # The client gives up on this try; the command may still be on its way.
                self.waiting = False
            return
        if self.pending is None:
            self.pending = self._next_command()
        self.waiting = True
        node.partition.submit(self.pending, 50, Try(self, self.pending))
        node.turns.request(node.partition)

    def _next_command(self) -> Command:
        if not self.session:
            self.token = self.token or self.rng.getrandbits(60)
            return (OPEN_SESSION, 0, 0, 0, self.token)
        self.sequence += 1
        triple = (self.session, self.sequence, self.sequence)
        if self.rng.random() < 0.5:
            return (INCR, *triple, NAMESPACE, COUNTER, 1)
        key = b"%d-%d" % (self.name, self.sequence)
        return (PUT, *triple, NAMESPACE, key, key, 0, 0, None)

    def answered(self, command: Command, result: Result) -> None:
        """A try of `command` was answered; a late one of an earlier command says nothing new."""
        if command is not self.pending:
            return
        self.waiting = False
        assert result[0] != SESSION_UNKNOWN, "a session was lost"
        if result[0] != 0:
            return
        code = command[0]
        if code == OPEN_SESSION:
            assert isinstance(result[1], int)
            self.session = result[1]
        elif code == INCR:
            assert isinstance(result[2], int)
            self.incremented.append(result[2])
        else:
            assert isinstance(command[5], bytes)
            self.acknowledged.append(command[5])
        self.pending = None


class Try:
    """One try of a client's command. Implements `Waiter`."""

    def __init__(self, client: Client, command: Command) -> None:
        self._client = client
        self._command = command

    def on_result(self, result: Result) -> None:
        self._client.answered(self._command, result)

    def on_not_leader(self, leader: NodeId) -> None:
        self._again()

    def on_unknown(self) -> None:
        self._again()

    def _again(self) -> None:
        if self._client.pending is self._command:
            self._client.waiting = False


class Counted:
    """What all clients know of the counter: a read must see every increment answered before."""

    def __init__(self) -> None:
        self.highest = 0

    def note(self, value: int) -> None:
        self.highest = max(self.highest, value)


class Read:
    """One linearizable read of the counter. Implements `Waiter`.

    An answer that comes after the client gave up must be right all the same.
    """

    def __init__(self, client: Client, counted: Counted) -> None:
        self._client = client
        self._counted = counted
        self._known = counted.highest

    def on_result(self, result: Result) -> None:
        value = 0
        if result[0] == 0:
            assert isinstance(result[2], bytes)
            value = int.from_bytes(result[2], "little")
        elif result[0] != Reason.NOT_FOUND:
            return self._done()
        assert value >= self._known, (
            f"a read returned {value}; {self._known} was answered before the read began"
        )
        self._counted.note(value)
        self._client.reads += 1
        return self._done()

    def on_not_leader(self, leader: NodeId) -> None:
        self._done()

    def on_unknown(self) -> None:
        raise AssertionError("a read cannot be unknown")

    def _done(self) -> None:
        if self._client.reading is self:
            self._client.reading = None


class Run:
    """The schedule of one seed."""

    def __init__(self, seed: int, *, nodes: int, steps: int) -> None:
        self.world = World(seed, nodes)
        self.world.on_crash = self._forget_calls
        self.rng = self.world.rng
        self.steps = steps
        self.counted = Counted()
        self.clients = [Client(n, Random(self.rng.getrandbits(32))) for n in range(CLIENTS)]

    def execute(self) -> None:
        """Raises AssertionError when a promise was broken."""
        for a, b in self.world.pairs:
            self.world.connect(a, b)
        for _ in range(self.steps):
            self._step()
            self.world.check()
            self.world.stop_failed()
        heal(self.world)
        for _ in range(QUIET_ROUNDS):
            self._quiet_round()
            if self._settled():
                break
        self._judge()

    def _step(self) -> None:
        world, rng = self.world, self.rng
        world.clock.now += rng.choice((0.001, 0.005, 0.02, 0.05))
        for node in world.nodes.values():
            if node.runs:
                if rng.random() < 0.6:
                    node.tick()
                for _ in range(rng.randrange(3)):
                    node.run_callbacks()
                if rng.random() < 0.1:
                    node.executor.run_next()
                if rng.random() < 0.1:
                    node.snapshot_executor.run_next()
        for (a, b), link in world.links.items():
            if rng.random() < 0.6:
                world.deliver(a, b, rng.choice((1, 2, 5, 50)))
            if link.leftovers and rng.random() < 0.1:
                world.deliver_leftover(a, b)
        for client in self.clients:
            node = world.nodes[rng.choice(world.node_ids)]
            if node.runs and rng.random() < 0.3:
                client.act(node)
            if node.runs and rng.random() < 0.2:
                self._read_counter(client, node)
        inject_one(world)

    def _read_counter(self, client: Client, node: SimNode) -> None:
        if client.reading is not None and self.rng.random() < 0.9:
            return
        for each in self.clients:
            self.counted.note(max(each.incremented, default=0))
        client.reading = read = Read(client, self.counted)
        node.partition.read(GET, (NAMESPACE, COUNTER), read)
        node.turns.request(node.partition)

    def _forget_calls(self) -> None:
        """A node crashed: whoever waited for it hears nothing."""
        for client in self.clients:
            client.waiting = False
            client.reading = None

    def _quiet_round(self) -> None:
        world = self.world
        world.clock.now += 0.02
        if any(node.failure is not None for node in world.nodes.values()):
            heal(world)  # A disk that failed just before the end is noticed only now.
        for node in world.nodes.values():
            node.tick()
            for _ in range(3):
                node.run_callbacks()
                node.executor.run_next()
                node.snapshot_executor.run_next()
        for a, b in world.links:
            world.deliver(a, b, 1000)
        world.check()
        for client in self.clients:
            if client.pending is not None:
                client.act(world.nodes[self.rng.choice(world.node_ids)])

    def _settled(self) -> bool:
        """Everybody answered, everybody has everything, and somebody leads."""
        nodes = list(self.world.nodes.values())
        if any(node.partition.broken or node.learning for node in nodes):
            return False
        same = len({(node.replica.applied_index, node.log.last_index) for node in nodes}) == 1
        led = any(node.group.is_ready for node in nodes)
        answered = all(client.pending is None for client in self.clients)
        return (
            led and same and answered and nodes[0].replica.applied_index == nodes[0].log.last_index
        )

    def _judge(self) -> None:
        assert self._settled(), "no progress after the faults stopped"
        nodes = list(self.world.nodes.values())
        assert len({node.replica.digest() for node in nodes}) == 1, "replicas differ"
        for client in self.clients:
            for key in client.acknowledged:
                assert self._read(key) == key, f"acknowledged {key!r} is gone"
        counted = [value for client in self.clients for value in client.incremented]
        assert len(set(counted)) == len(counted), "two increments got the same answer"
        stored = int.from_bytes(self._read(COUNTER) or b"", "little")
        assert stored == len(counted), f"{len(counted)} increments acknowledged, {stored} counted"

    def _read(self, key: bytes) -> bytes | None:
        answers: list[Result] = []

        class Collect:
            def on_result(self, result: Result) -> None:
                answers.append(result)

            def on_not_leader(self, leader: NodeId) -> None:
                raise AssertionError(f"not the leader; {leader} is")

            def on_unknown(self) -> None:
                raise AssertionError("a read cannot be unknown")

        self.world.nodes[1].partition.read_stale(GET, (NAMESPACE, key), Collect())
        value = answers[0][2] if answers[0][0] == 0 else None
        assert value is None or isinstance(value, bytes)
        return value

    @property
    def reads(self) -> int:
        return sum(client.reads for client in self.clients)

    @property
    def acknowledged(self) -> int:
        return sum(len(c.acknowledged) + len(c.incremented) for c in self.clients)
