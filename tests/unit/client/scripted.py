"""A fake cluster of one node whose answers a test writes down, by the type of the request."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from flo import FloClient
from flo.wire import messages as wire
from flo.wire.connection import Request
from tests.unit.client.fake_node import Action, FakeCluster, FakeNode


class Scripted:
    """A client and the node that it talks to.

    `answers[Kind] = action` is for every request of that kind; it may also be a function of the
    request's body.
    """

    def __init__(self, client: FloClient, node: FakeNode) -> None:
        self.client = client
        self.node = node
        self.answers: dict[type[wire.Body], Action | Callable[[wire.Body], Action]] = {}
        node.script = self._script

    def last(self) -> wire.Body:
        """What was asked last."""
        return self._last().body

    @property
    def last_is_exactly_once(self) -> bool:
        """Whether it has a place in a session."""
        context = self._last().context
        return context is not None and bool(context.sequence)

    def bodies(self, kind: type[wire.Body]) -> list[wire.Body]:
        """What was asked of a kind, in order."""
        return [request.body for request in self.node.of_type(kind)]

    def _last(self) -> Request:
        """But for what the client asks for itself, from time to time."""
        own = (wire.PartitionTableRequest, wire.Ping)
        return next(each for each in reversed(self.node.requests) if not isinstance(each.body, own))

    def _script(self, request: Request) -> Action:
        answer = self.answers.get(type(request.body))
        return answer(request.body) if callable(answer) else answer


@asynccontextmanager
async def scripted() -> AsyncGenerator[Scripted]:
    """Such a client, connected."""
    async with FakeCluster() as cluster, FloClient(cluster.endpoints, timeout_ms=60_000) as client:
        yield Scripted(client, cluster.nodes[0])
