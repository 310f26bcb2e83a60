"""A node as a client sees it: the real codec over loopback, a dict for a store, and a script.

`FakeCluster` starts some of them over one store. Without a script a node answers at once; a test
gives `node.script` to refuse, hold, lose or garble what it likes.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from flo.wire import messages as wire
from flo.wire.connection import Rejected, Request, ServerConnection, encode_answer
from flo.wire.status import Ran, Reason, Refusal

Answer: TypeAlias = wire.Result | Refusal


@dataclass(slots=True)
class Hold:
    """Do not answer, nor anything that comes after it on the same connection, until `release`."""


@dataclass(slots=True)
class Park:
    """Do not answer this one until it is cancelled, or `wake` finds another action for it."""


@dataclass(slots=True)
class Lose:
    """End the connection instead of answering; `executed` says whether the request runs before."""

    executed: bool


@dataclass(slots=True)
class Garble:
    """Answer with these bytes, which are no frame."""

    data: bytes


Action: TypeAlias = Answer | Hold | Park | Lose | Garble | None
Script: TypeAlias = Callable[[Request], Action]


class Store:
    """Keys and sessions; each triple is executed once."""

    def __init__(self, partition_count: int) -> None:
        self.partition_count = partition_count
        self.values: dict[bytes, tuple[int, bytes]] = {}
        self.ttls: dict[bytes, int] = {}
        self.results: dict[int, dict[int, Answer]] = {}
        self.executed: list[wire.Body] = []
        self.version = 0

    def open_session(self) -> int:
        session = 100 + len(self.results)
        self.results[session] = {}
        return session

    def write(self, request: Request) -> Answer:
        context = request.context
        if context is None or context.session is None or context.sequence is None:
            return self._execute(request.body)
        results = self.results.get(context.session)
        if results is None:
            return Refusal(Reason.SESSION_UNKNOWN, Ran.NO, "session unknown")
        if context.sequence not in results:
            results[context.sequence] = self._execute(request.body)
        return results[context.sequence]

    def _execute(self, body: wire.Body) -> Answer:
        self.executed.append(body)
        self.version += 1
        if isinstance(body, wire.KvPut):
            return self._put(body)
        if isinstance(body, wire.KvDelete):
            return wire.Deleted(self.values.pop(body.key, None) is not None)
        if isinstance(body, wire.KvIncr):
            old = int.from_bytes(self.values.get(body.key, (0, b""))[1], "little", signed=True)
            new = (old + body.delta).to_bytes(8, "little", signed=True)
            self.values[body.key] = (self.version, new)
            return wire.Counter(self.version, old + body.delta)
        expire = cast(wire.KvExpire, body)
        if expire.key not in self.values:
            return Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")
        self.ttls[expire.key] = expire.ttl_ms
        return wire.Done()

    def _put(self, put: wire.KvPut) -> Answer:
        current = self.values.get(put.key)
        if put.cas is not None and put.cas != (current[0] if current else 0):
            return Refusal(Reason.CAS_MISMATCH, Ran.NO, "the version is another")
        if (put.if_absent and current) or (put.if_present and not current):
            return Refusal(Reason.CONDITION_FAILED, Ran.NO, "the condition does not hold")
        self.values[put.key] = (self.version, put.value)
        self.ttls[put.key] = put.ttl_ms or 0
        return wire.Stored(self.version)

    def read(self, body: wire.Body) -> Answer:
        if isinstance(body, wire.KvGet):
            found = self.values.get(body.key)
            return wire.Value(*found) if found else Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")
        if isinstance(body, wire.KvExists):
            version = self.values.get(body.key, (0, b""))[0]
            return wire.Exists(version > 0, version)
        if isinstance(body, wire.KvMget):
            return wire.Values(
                tuple(
                    wire.ValueEntry(key, key in self.values, *self.values.get(key, (0, b"")))
                    for key in body.keys
                )
            )
        scan = cast(wire.KvScan, body)
        keys = sorted(k for k in self.values if k.startswith(scan.prefix) and k > scan.cursor)
        page = keys[: scan.limit or 100]
        cursor = page[-1] if len(page) < len(keys) else None
        return wire.Page(tuple(wire.PageEntry(key, b"") for key in page), cursor)


class FakeNode:
    """One node. `requests` are all that arrived; `bursts` how many came with each read."""

    def __init__(self, cluster: "FakeCluster") -> None:
        self.cluster = cluster
        self.script: Script | None = None
        self.requests: list[Request] = []
        self.bursts: list[int] = []
        self.connections: list[_ServerSide] = []
        self.connections_total = 0
        self.address = ""
        self.status: dict[str, object] = {}
        self._server: asyncio.Server | None = None
        self._news = asyncio.Event()

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _ServerSide(self), "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stops listening, and cuts every connection."""
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()
            self._server = None

    def drop_connections(self) -> None:
        for connection in list(self.connections):
            connection.transport.abort()

    def release(self) -> None:
        """Answers everything that was held, in order, and holds nothing more."""
        self.script = None
        for connection in list(self.connections):
            connection.release()

    def wake(self) -> None:
        """Handles everything that was parked once more."""
        for connection in list(self.connections):
            connection.wake()

    async def until(self, condition: Callable[["FakeNode"], bool]) -> None:
        """Returns when the condition holds; it is looked at whenever something happened here."""
        while not condition(self):
            self._news.clear()
            await self._news.wait()

    def something_happened(self) -> None:
        self._news.set()

    def of_type(self, kind: type[wire.Body]) -> list[Request]:
        return [request for request in self.requests if isinstance(request.body, kind)]

    def answer(self, request: Request) -> Action:
        """What the script says, else what a healthy node answers."""
        action = self.script(request) if self.script is not None else None
        return self.healthy_answer(request) if action is None else action

    def healthy_answer(self, request: Request) -> Answer:
        body = request.body
        store = self.cluster.store
        if isinstance(body, wire.PartitionTableRequest):
            return self.cluster.table()
        if isinstance(body, wire.OpenSession):
            return wire.SessionOpened(store.open_session())
        if isinstance(body, wire.ClusterStatusRequest):
            return wire.ClusterStatus(json.dumps(self.status).encode())
        if isinstance(body, wire.Ping):
            return wire.Pong()
        if isinstance(body, wire.CancelWait):
            return wire.Done()
        return store.write(request) if request.op.kind == "write" else store.read(body)


class FakeCluster:
    """Nodes over one store; the leaders take turns over the partitions.

    async with FakeCluster(3) as cluster:
        async with FloClient(cluster.endpoints) as client: ...
    """

    def __init__(self, node_count: int = 1, *, partition_count: int = 4) -> None:
        self.store = Store(partition_count)
        self.nodes = [FakeNode(self) for _ in range(node_count)]
        self.leaders: list[str | None] | None = None
        self.table_version = 1

    @property
    def endpoints(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def table(self) -> wire.PartitionTable:
        addresses = tuple(node.address for node in self.nodes)
        leaders = self.leaders or [
            addresses[partition % len(addresses)] for partition in range(self.store.partition_count)
        ]
        rows = tuple(wire.PartitionRow(leader, addresses) for leader in leaders)
        return wire.PartitionTable(self.table_version, rows)

    def lead(self, leader: str | None) -> None:
        """From now on the tables name this leader for every partition."""
        self.leaders = [leader] * self.store.partition_count
        self.table_version += 1

    async def __aenter__(self) -> "FakeCluster":
        for node in self.nodes:
            await node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.stop()


class _ServerSide(asyncio.Protocol):
    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.codec = ServerConnection()
        self.transport = cast(asyncio.Transport, None)
        self.held: list[Request] = []
        self.parked: list[Request] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.node.connections.append(self)
        self.node.connections_total += 1
        self.node.something_happened()

    def connection_lost(self, exc: Exception | None) -> None:
        self.node.connections.remove(self)
        self.node.something_happened()

    def data_received(self, data: bytes) -> None:
        items = self.codec.receive(data)
        frames: list[bytes] = []
        self.node.bursts.append(len(items))
        for item in items:
            frames.append(self._handle(item))
            if self.transport.is_closing():
                break
        else:
            self.transport.write(b"".join(frames))
        self.node.something_happened()

    def _handle(self, item: Request | Rejected) -> bytes:
        if isinstance(item, Rejected):
            return item.encode()
        self.node.requests.append(item)
        if isinstance(item.body, wire.CancelWait):
            cancelled = item.body.request_id
            self.parked = [each for each in self.parked if each.request_id != cancelled]
        return self._act(item)

    def _act(self, item: Request) -> bytes:
        action = Hold() if self.held else self.node.answer(item)
        if isinstance(action, Hold):
            self.held.append(item)
            return b""
        if isinstance(action, Park):
            self.parked.append(item)
            return b""
        if isinstance(action, Garble):
            return action.data
        if isinstance(action, Lose):
            if action.executed:
                self.node.healthy_answer(item)
            self.transport.abort()
            return b""
        assert action is not None
        return _encode(item, action)

    def wake(self) -> None:
        parked, self.parked = self.parked, []
        self.transport.write(b"".join(self._act(each) for each in parked))

    def release(self) -> None:
        held, self.held = self.held, []
        answers = [_encode(request, self.node.healthy_answer(request)) for request in held]
        self.transport.write(b"".join(answers))


def _encode(request: Request, answer: Answer) -> bytes:
    return encode_answer(
        request.revision, request.request_id, request.op, answer, extended=request.extended
    )
