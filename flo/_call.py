"""What one call has gone through so far, and its name in messages."""

from typing import TYPE_CHECKING, Final

from flo._names import decode_key
from flo._sessions import Session
from flo.exceptions import Outcome
from flo.wire.messages import Body, CallContext, KvMget
from flo.wire.registry import OP_OF_REQUEST

if TYPE_CHECKING:
    from flo._transport import Channel, Lost

# The server shall give up a little before us: its refusal says more than silence.
_ANSWER_MARGIN_MAX_MS = 200
_KEY_SHOWN_MAX: Final = 80


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
    ) -> None:
        self.body = body
        self.partition = partition
        self.deadline = deadline
        self.budget_s = budget_s
        self.era = era
        self.is_write = is_write
        self.stale = stale
        """Any replica may answer."""
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

    def context(self, remaining_s: float) -> CallContext:
        """What travels with a try."""
        remaining_ms = int(remaining_s * 1000)
        margin_ms = min(remaining_ms // 10, _ANSWER_MARGIN_MAX_MS)
        deadline_ms = max(1, remaining_ms - margin_ms)
        session = self.session
        if session is None:
            return CallContext(None, None, None, self.stale, deadline_ms)
        sequence, floor = self.sequence
        return CallContext(session.session_id, sequence, floor, False, deadline_ms)

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
            key: bytes | None = getattr(self.body, "key", getattr(self.body, "prefix", None))
            if key is not None:
                about = f" of {_shown(key)}"
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
