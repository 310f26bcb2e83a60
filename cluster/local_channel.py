"""The client's requests to the node in its own process: no socket, no bytes, the same limits.

A request passes through the payload form of the wire, so that whatever the wire refuses is refused
here too, by the same code. Frames, checksums and the bytes of answers are left out.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from flo._transport import Channel, Lost, LostCallback, Reply
from flo.exceptions import NotConnectedError, ValidationError
from flo.wire.connection import Request
from flo.wire.errors import LocalProtocolError, ProtocolError
from flo.wire.limits import check_namespace
from flo.wire.messages import (
    Body,
    CallContext,
    PartitionRow,
    PartitionTable,
    PartitionTableRequest,
)
from flo.wire.payload import DEFAULT_NAMESPACE
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.status import Ran, Refusal

if TYPE_CHECKING:
    from cluster.calls import Call
    from cluster.config import Limits
    from cluster.operation import Answer
    from cluster.router import Router
    from flo._endpoints import Endpoint

_REVISION = 1


class LocalConnector:
    """Implements `Connector` for the client that a node gives to the program around it.

    The client learns from the table that this node leads everything, so it never looks for another
    one: the node forwards to the leaders by itself.
    """

    def __init__(
        self, endpoint: "Endpoint", router: "Router", limits: "Limits", *, partition_count: int
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._limits = limits
        row = PartitionRow(str(endpoint), ())
        self._table = PartitionTable(1, (row,) * partition_count)
        self._channel: LocalChannel | None = None

    async def connect(self, endpoint: "Endpoint", on_lost: LostCallback) -> Channel:
        if endpoint != self._endpoint:
            raise OSError("the client of an embedded node asks that node only")
        self._channel = LocalChannel(endpoint, self._router, self._limits, self._table, on_lost)
        return self._channel

    async def ask(self, body: Body, context: CallContext) -> Reply:
        """One request, past the client: it is tried once, and ends when the node says so."""
        assert self._channel is not None, "the client connects first"
        return await self._channel.send(body, context)

    def refuse(self, refusal: Refusal) -> None:
        """From now on requests get this answer; those that run go on."""
        if self._channel is not None:
            self._channel.refuse(refusal)

    def abandon(self, refusal: Refusal) -> None:
        """The node will answer nothing any more: what runs has an unknown outcome."""
        if self._channel is not None:
            self._channel.abandon(refusal)

    async def drained(self) -> None:
        """Returns when nothing is unanswered."""
        if self._channel is not None:
            await self._channel.drained()


class LocalChannel:
    """Implements `Channel`. No answer comes before `send` has returned, and a pass of the loop."""

    def __init__(
        self,
        endpoint: "Endpoint",
        router: "Router",
        limits: "Limits",
        table: PartitionTable,
        on_lost: LostCallback,
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._requests_max = limits.connection_requests_max
        self._value_bytes_max = limits.value_bytes_max
        self._table = table
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._replies: set[asyncio.Future[Reply]] = set()
        self._sending = False
        self._refusal: Refusal | None = None
        self._lost: Lost | None = None
        self._closed = asyncio.Event()
        self._progress = asyncio.Event()
        """Set with every answer; who waits for one clears it first."""

    @property
    def endpoint(self) -> "Endpoint":
        return self._endpoint

    @property
    def peer(self) -> "Endpoint":
        return self._endpoint

    @property
    def congested(self) -> bool:
        return len(self._replies) >= self._requests_max

    @property
    def unanswered(self) -> int:
        return len(self._replies)

    @property
    def end_reason(self) -> str:
        return "" if self._lost is None else self._lost.message

    def send(self, body: Body, context: CallContext) -> asyncio.Future[Reply]:
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if self._lost is not None:
            reply.set_result(self._lost)
            return reply
        self._replies.add(reply)
        self._sending = True
        try:
            self._run(body, context, reply)
        except BaseException:
            self._replies.discard(reply)
            raise
        finally:
            self._sending = False
        return reply

    async def writable(self) -> None:
        while self.congested and self._lost is None:
            await self._next_answer()

    async def drained(self) -> None:
        """Returns when nothing is unanswered."""
        while self._replies:
            await self._next_answer()

    def silence_s(self, now: float) -> float:
        # A request without an answer waits for its partition, and the node knows how long.
        return 0.0

    def refuse(self, refusal: Refusal) -> None:
        """From now on requests get this answer; those that run go on."""
        self._refusal = refusal

    def abandon(self, refusal: Refusal) -> None:
        """The same, and it is the answer of those that run, which may have had their effect."""
        self._refusal = refusal
        for reply in list(self._replies):
            self._deliver(reply, refusal._replace(ran=Ran.UNKNOWN))

    def close(self, reason: str) -> None:
        if self._lost is None:
            self._lost = Lost(NotConnectedError, f"the way to the node is closed: {reason}")
            self._loop.call_soon(self._end, self._lost)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def _run(self, body: Body, context: CallContext, reply: "asyncio.Future[Reply]") -> None:
        if self._refusal is not None:
            self._answer(reply, self._refusal)
            return
        if isinstance(body, PartitionTableRequest):
            self._answer(reply, self._table)
            return
        op = OP_OF_REQUEST[type(body)]
        codec = op.v1
        assert codec is not None, "every operation can be said in v1"
        try:
            payload = codec.encode_request(body)
            if not payload.namespace:
                payload = payload._replace(namespace=DEFAULT_NAMESPACE)
            check_namespace(payload.namespace)
            checked = codec.decode_request(payload, self._value_bytes_max)
        except LocalProtocolError as error:
            raise ValidationError(str(error)) from error
        except ProtocolError as error:
            self._answer(reply, error.refusal)
            return
        request = Request(_REVISION, 0, op, checked, context)
        call = self._router.run(request, partial(self._answer, reply))
        if call is not None:
            reply.add_done_callback(partial(_cancel_with, call))

    def _answer(self, reply: "asyncio.Future[Reply]", answer: "Answer") -> None:
        if self._sending:
            # At once: whoever asks again and again must let others run in between.
            self._loop.call_soon(self._deliver, reply, answer)
        else:
            self._deliver(reply, answer)

    def _deliver(self, reply: "asyncio.Future[Reply]", answer: Reply) -> None:
        self._replies.discard(reply)
        # It is done already when its caller was cancelled, or ran out of time.
        if not reply.done():
            reply.set_result(answer)
        self._progress.set()

    async def _next_answer(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _end(self, lost: Lost) -> None:
        # First, while what is unanswered can still be told.
        self._on_lost(self)
        for reply in list(self._replies):
            self._deliver(reply, lost)
        self._progress.set()
        self._closed.set()


def _cancel_with(call: "Call", reply: "asyncio.Future[Reply]") -> None:
    """Nothing is taken for a caller that waits no longer."""
    if reply.cancelled():
        call.cancel()
