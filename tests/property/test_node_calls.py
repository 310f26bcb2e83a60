"""Whatever happens to the cluster, a call is answered once, and "did not run" is always true."""

from typing import TYPE_CHECKING, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.state.commands import SESSION_UNKNOWN
from flo.wire.messages import CallContext
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.kit import TIMEOUT_MS, Asked, Calls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.calls import Outcome

NODES = st.sampled_from([0, 1, 2, 3])
PEERS = st.sampled_from([2, 3])
REFUSALS = st.sampled_from(
    [Reason.SHARD_BUSY, Reason.WRITES_STOPPED, Reason.UNKNOWN_OP, Reason.CAS_MISMATCH]
)

RESULT, NOT_LEADER, UNKNOWN = 0, 1, 2
OPEN_SESSION, PUT = 0xF001, 0x100


class Caller:
    """One call as its client sees it, and what became of its tries."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.outcomes: list[Outcome] = []
        self.may_have_run = False
        self.triples: set[tuple[object, ...]] = set()
        self.sessions_refused: set[object] = set()


class EveryCallIsAnswered(RuleBasedStateMachine):
    """Node 1 with a replica of partition 0; the test plays the replica and the peers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()
        self.callers: dict[bytes, Caller] = {}
        self.on_way: list[tuple[int, list[object]]] = []
        self.next_session = 100

    # --- clients ---

    @rule(own_session=st.booleans(), deadline_ms=st.sampled_from([None, 30, 1000]))
    def write(self, own_session: bool, deadline_ms: int | None) -> None:
        caller = self._caller()
        number = len(self.callers)
        context = CallContext(deadline_ms=deadline_ms)
        if own_session:
            context = CallContext(5, number, number, deadline_ms=deadline_ms)
        args = (b"ns", caller.mark, b"", 0, 0, None)
        self.calls.dispatcher.write(0, PUT, args, context, caller.outcomes.append)

    @rule(stale=st.booleans())
    def read(self, stale: bool) -> None:
        caller = self._caller()
        args = (b"ns", caller.mark)
        context = CallContext(stale=stale)
        self.calls.dispatcher.read(0, 0x101, args, context, caller.outcomes.append)

    def _caller(self) -> Caller:
        caller = Caller(b"%d" % len(self.callers))
        self.callers[caller.mark] = caller
        return caller

    # --- the cluster ---

    @rule(leader=NODES)
    def leader_changes(self, leader: int) -> None:
        """What the local replica had queued is refused, what it had proposed is unknown."""
        self._collect()
        for asked in self.calls.partition.take():
            self._note(asked.content, ran=False)
            asked.waiter.on_not_leader(leader)
        self.calls.lead(leader)

    @rule(broken=st.booleans())
    def replica_breaks(self, broken: bool) -> None:
        self.calls.partition.broken = "damage" if broken else None

    @rule(data=st.data(), kind=st.sampled_from(["result", "lost", "refused", "forgotten"]))
    def replica_answers(self, data: st.DataObject, kind: str) -> None:
        asked = self._choose(data, self.calls.partition.take())
        if asked is None:
            return
        self._note(asked.content, ran=kind in ("result", "lost"))
        if kind == "lost":
            asked.waiter.on_unknown()
        else:
            asked.waiter.on_result(tuple(self._result(data, kind, asked.content)))

    def _choose(self, data: st.DataObject, asked: list[Asked]) -> Asked | None:
        if not asked:
            return None
        chosen = asked.pop(data.draw(st.integers(0, len(asked) - 1)))
        partition = self.calls.partition
        for each in asked:
            code = each.content[0]
            (partition.writes if code in (PUT, OPEN_SESSION) else partition.reads).append(each)
        return chosen

    @rule(data=st.data(), kind=st.sampled_from(["result", "not leader", "lost", "refused"]))
    def peer_answers(self, data: st.DataObject, kind: str) -> None:
        self._collect()
        if not self.on_way:
            return
        node, message = self.on_way.pop(data.draw(st.integers(0, len(self.on_way) - 1)))
        content = self._content(message)
        self._note(content, ran=kind in ("result", "lost"))
        if kind == "not leader":
            self.calls.reply(node, message[2], NOT_LEADER, data.draw(NODES))
        elif kind == "lost":
            self.calls.reply(node, message[2], UNKNOWN, 0)
        else:
            self.calls.reply(node, message[2], RESULT, self._result(data, kind, content))

    @rule(node=PEERS)
    def peer_is_lost(self, node: int) -> None:
        """What is on its way to it may run all the same; answers that were on the wire are late."""
        self._collect()
        for to, message in self.on_way:
            if to == node:
                self._note(self._content(message), ran=True)
        late = [message for to, message in self.on_way if to == node]
        self.on_way = [each for each in self.on_way if each[0] != node]
        self.calls.lose_peer(node)
        for message in late:
            self.calls.reply(node, message[2], RESULT, [0, 1])

    @rule(node=PEERS)
    def peer_is_back(self, node: int) -> None:
        self.calls.find_peer(node)

    @rule(seconds=st.sampled_from([0.02, 0.02, 0.5, 3.0]))
    def time_passes(self, seconds: float) -> None:
        # What has not been answered by now may still run.
        self._collect()
        self.calls.tick(seconds)

    # --- what must hold ---

    @invariant()
    def nobody_is_told_twice(self) -> None:
        assert all(len(caller.outcomes) <= 1 for caller in self.callers.values())

    @invariant()
    def what_did_not_run_did_not(self) -> None:
        self._collect()
        on_way = {self._mark(self._content(message)) for _, message in self.on_way}
        for asked in self.calls.partition.writes:
            on_way.add(self._mark(asked.content))
        for caller in self.callers.values():
            for outcome in caller.outcomes:
                if isinstance(outcome, Refusal) and outcome.ran is Ran.NO:
                    assert not caller.may_have_run
                    assert not caller.triples or caller.mark not in on_way

    @invariant()
    def a_retry_is_known_for_what_it_is(self) -> None:
        """One triple, but for those whose session had been forgotten before anything ran."""
        self._collect()
        for caller in self.callers.values():
            assert len(caller.triples) <= 1 + len(caller.sessions_refused)

    def teardown(self) -> None:
        """In the end everybody is told, and nothing is remembered."""
        self.calls.partition.broken = None
        for _ in range(3):
            self._collect()
            self.calls.tick(10 * TIMEOUT_MS / 1000 + 0.1)
        assert all(len(caller.outcomes) == 1 for caller in self.callers.values())
        self.what_did_not_run_did_not()
        dispatcher = vars(self.calls.dispatcher)
        assert self.calls.dispatcher.unanswered == 0
        assert not any(dispatcher["_parked"])
        assert not any(dispatcher["_buckets"].values())
        assert not any(vars(self.calls.forwarding)["_out"].values())
        for session in dispatcher["_sessions"]:
            assert not vars(session)["_queue"]
            assert not vars(session)["_awaited"]
            assert not vars(session)["_answered"]

    # --- inside ---

    def _collect(self) -> None:
        """What was sent since the last time; notes the triples that writes travel with."""
        for node, message in self.calls.network.take():
            self.on_way.append((node, message))
            self._note_triple(self._content(message))
        for asked in self.calls.partition.writes:
            self._note_triple(asked.content)

    @staticmethod
    def _content(message: list[object]) -> tuple[object, ...]:
        """A forwarded call as a partition is given it."""
        mode, code, triple, args = message[3:]
        is_write = mode == 1
        head = (code, *cast("Sequence[object]", triple)) if is_write else (code,)
        return (*head, *cast("Sequence[object]", args))

    @staticmethod
    def _mark(content: tuple[object, ...]) -> bytes:
        if content[0] == PUT:
            return cast(bytes, content[5])
        return b"" if content[0] == OPEN_SESSION else cast(bytes, content[2])

    def _note_triple(self, content: tuple[object, ...]) -> None:
        if content[0] == PUT:
            self.callers[self._mark(content)].triples.add(content[1:3])

    def _note(self, content: tuple[object, ...], *, ran: bool) -> None:
        if content[0] == PUT:
            self._note_triple(content)
            if ran:
                self.callers[self._mark(content)].may_have_run = True

    def _result(self, data: st.DataObject, kind: str, content: tuple[object, ...]) -> list[object]:
        if content[0] == OPEN_SESSION and kind in ("result", "forgotten"):
            self.next_session += 1
            return [0, self.next_session]
        if kind == "result":
            return [0, 1]
        if kind == "forgotten" and content[0] == PUT:
            self.callers[self._mark(content)].sessions_refused.add(content[1])
            return [SESSION_UNKNOWN]
        if kind == "forgotten":
            return [0]
        return [int(data.draw(REFUSALS)), 3]


EveryCallIsAnswered.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestEveryCallIsAnswered = EveryCallIsAnswered.TestCase
