"""The seam between the client and what carries its requests.

`flo._connection` implements it over TCP; a program that runs a node inside itself can give another.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from flo._endpoints import Endpoint
from flo.exceptions import FloError
from flo.wire.messages import Body, CallContext, Result
from flo.wire.status import Refusal


class Lost(NamedTuple):
    """The channel ended before the answer came: the request may have been executed or not."""

    error: type[FloError]
    message: str


class Expired:
    """The caller's time ended before the answer came."""

    __slots__ = ()


EXPIRED: Final = Expired()

Reply: TypeAlias = Result | Refusal | Lost | Expired


class Channel(Protocol):
    """A way to one node. Requests may be sent without waiting for earlier answers."""

    @property
    def endpoint(self) -> Endpoint:
        """What it was asked to connect to."""
        ...

    @property
    def peer(self) -> Endpoint:
        """The address it reached, which tells two names of one node from two nodes."""
        ...

    @property
    def congested(self) -> bool:
        """Too much waits to be sent or answered: await `writable` before sending more."""
        ...

    @property
    def unanswered(self) -> int:
        """How many requests it owes an answer, abandoned ones included."""
        ...

    @property
    def end_reason(self) -> str:
        """Why it ended. Only after it has."""
        ...

    def send(self, body: Body, context: CallContext) -> asyncio.Future[Reply]:
        """Sends one request. Cancelling the future abandons the answer, not the channel.

        Raises ValidationError, with nothing sent, for what the wire cannot carry.
        """
        ...

    async def writable(self) -> None:
        """Returns when the channel is not congested, or has ended."""
        ...

    def silence_s(self, now: float) -> float:
        """How long requests have waited without a byte coming; `now` is event-loop time."""
        ...

    def close(self, reason: str) -> None:
        """Ends the channel now: unanswered requests are lost."""
        ...

    async def wait_closed(self) -> None:
        """Returns when nothing of it is left."""
        ...


LostCallback: TypeAlias = Callable[[Channel], None]


class Connector(Protocol):
    """Opens channels."""

    async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
        """Opens a channel; `on_lost` is called once, when it has ended. Raises OSError."""
        ...
