"""What one call has gone through so far, and its name in messages."""

from math import ceil
from typing import TYPE_CHECKING, Final, cast

from flo._names import decode_key
from flo._sessions import Session
from flo.exceptions import Outcome
from flo.wire.messages import Body, CallContext, KvGet, KvMget
from flo.wire.registry import OP_OF_REQUEST

if TYPE_CHECKING:
    from flo._transport import Channel, Lost

# The server shall give up a little before us: its refusal says more than silence.
_ANSWER_MARGIN_MAX_MS = 200
_KEY_SHOWN_MAX: Final = 80
_NAMES: Final = ("key", "queue", "stream", "prefix")
"""Fields of requests that say what they are about."""


class Era:
    """The time between opening, interrupting and closing a client. It ends all its calls."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended: Lost | None = None


class Call:
    """One call."""

    __slots__ = (
        "attempts",
        "body",
        "budget_s",
        "channel",
        "deadline",
        "era",
        "is_write",
        "may_have_run",
        "partition",
        "sequence",
        "session",
        "stale",
        "wait_s",
    )

    def __init__(
        self,
        body: Body,
        partition: int | None,
        deadline: float,
        budget_s: float,
        era: Era,
        *,
        is_write: bool,
        stale: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        self.body = body
        self.partition = partition
        self.deadline = deadline
        self.budget_s = budget_s
        self.era = era
        self.is_write = is_write
        self.stale = stale
        """Any replica may answer."""
        self.wait_s = wait_s
        """For so long the node may wait, from the beginning of the call; a part of the budget."""
        self.attempts = 0
        self.channel: Channel | None = None
        # Set for a write once it has its place in a session; floor and sequence stay the same from
        # try to try, which is what makes the tries one write.
        self.session: Session | None = None
        self.sequence = (0, 0)
        self.may_have_run = False

    @property
    def outcome(self) -> Outcome:
        """What is known if the call ended here. A read has no effect that could be unknown."""
        return "unknown" if self.is_write and self.may_have_run else "not_applied"

    def enter(self, session: Session) -> None:
        """Takes a place in a session. The floor is noted now: it must not pass the sequence."""
        sequence = session.begin()
        self.session = session
        self.sequence = (sequence, session.floor)

    def leave(self) -> None:
        """Gives the place up: nobody awaits that sequence any more."""
        if self.session is not None:
            self.session.end(self.sequence[0])
            self.session = None

    def request(self, remaining_s: float) -> Body:
        """The body for a try: one that comes late waits only for what is left of the wait."""
        if not self.wait_s:
            return self.body
        # Every body that waits has the field. Not 0: that would be another question.
        waiting = cast(KvGet, self.body)
        left_ms = ceil(self._wait_left_s(remaining_s) * 1000)
        return waiting._replace(wait_ms=max(1, min(waiting.wait_ms, left_ms)))

    def context(self, remaining_s: float) -> CallContext:
        """What travels with a try."""
        remaining_ms = int(remaining_s * 1000)
        # Not of the wait: its end is an answer.
        own_ms = int((remaining_s - self._wait_left_s(remaining_s)) * 1000)
        margin_ms = min(own_ms // 10, _ANSWER_MARGIN_MAX_MS)
        deadline_ms = max(1, remaining_ms - margin_ms)
        session = self.session
        if session is None:
            return CallContext(None, None, None, self.stale, deadline_ms)
        sequence, floor = self.sequence
        return CallContext(session.session_id, sequence, floor, False, deadline_ms)

    def _wait_left_s(self, remaining_s: float) -> float:
        spent_s = self.budget_s - remaining_s
        return max(0.0, self.wait_s - spent_s)

    @property
    def operation(self) -> str:
        """The name of the operation, such as "kv.put"."""
        return OP_OF_REQUEST[type(self.body)].name

    @property
    def namespace(self) -> str | None:
        """The namespace it is about, if it is about one."""
        namespace: bytes | None = getattr(self.body, "namespace", None)
        return None if namespace is None else namespace.decode(errors="replace")

    @property
    def endpoint(self) -> str | None:
        """The node that was asked last."""
        return None if self.channel is None else str(self.channel.endpoint)

    def __str__(self) -> str:
        """The call as a person would say it: `kv.put of 'order:7' in namespace 'shop'`."""
        about = ""
        if isinstance(self.body, KvMget):
            about = f" of {len(self.body.keys)} keys"
        else:
            name = next((each for each in _NAMES if hasattr(self.body, each)), None)
            if name is not None:
                about = f" of {_shown(getattr(self.body, name))}"
            group: bytes | None = getattr(self.body, "group", None)
            if group is not None:
                about += f" by group {_shown(group)}"
        namespace = self.namespace
        if namespace not in (None, "default"):
            about += f" in namespace {namespace!r}"
        return self.operation + about

    def effort(self) -> str:
        """Where it was tried, how often and for how long."""
        where = "" if self.partition is None else f"partition {self.partition}, "
        last = "" if self.channel is None else f" last at {self.channel.endpoint},"
        tries = "1 try" if self.attempts == 1 else f"{self.attempts} tries"
        return f"{where}{tries},{last} within {self.budget_s * 1000:g} ms"


def _shown(key: bytes) -> str:
    text = decode_key(key)
    return repr(text if len(text) <= _KEY_SHOWN_MAX else text[:_KEY_SHOWN_MAX] + "...")
