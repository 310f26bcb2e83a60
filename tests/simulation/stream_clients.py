"""Clients of one stream and of a group that shares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import group_messages as groups
from flo.wire import stream_messages as wire
from tests.simulation.accounts import Account, AccountCall, AccountClient
from tests.simulation.caller import NAMESPACE

if TYPE_CHECKING:
    from random import Random

    from cluster.operation import Answer
    from tests.simulation.caller import Session
    from tests.simulation.world import World

GROUP = b"group"
LEASE_MS = 1_500
_SETTINGS = groups.GroupSettings(ack_timeout_ms=LEASE_MS, max_deliver=0)
_APPEND, _READ, _TAKE, _CLAIM, _ACK = 0.25, 0.4, 0.58, 0.68, 0.9
"""Where each kind of call ends in what is drawn; the rest give back."""
_WAITS_MS = (200, 800)
_ALL = 1_000


class StreamClient(AccountClient):
    """Appends, reads on from what it has read, and takes records as a consumer of the group."""

    def __init__(
        self, world: World, rng: Random, session: Session | None, account: Account
    ) -> None:
        super().__init__(world, rng, session, account)
        self.held: list[wire.StreamId] = []
        self._consumer = b"consumer %d" % account.new_number()
        self._next = wire.StreamId(0, 0)
        self._has_group = False

    def next_call(self) -> AccountCall:
        name = self.account.name
        if not self._has_group:
            body = groups.GroupCreate(NAMESPACE, name, GROUP, settings=_SETTINGS)
            return self.made(body, may_repeat=True)
        draw = self.rng.random()
        if draw < _APPEND:
            count = self.rng.choice((1, 1, 2, 3))
            items = tuple(wire.StreamItem(self.account.new_payload()) for _ in range(count))
            return self.made_exact(wire.StreamAppend(NAMESPACE, name, items))
        if draw < _READ:
            return self._read()
        if draw < _TAKE or not self.held:
            return self.take(self.rng.choice((1, 2, 5)))
        if draw < _CLAIM:
            claim = groups.GroupClaim(NAMESPACE, name, GROUP, self._consumer, LEASE_MS, limit=2)
            return self.made_exact(claim)
        return self._give(draw)

    def _read(self) -> AccountCall:
        rng = self.rng
        body = wire.StreamRead(NAMESPACE, self.account.name, self._next, limit=rng.choice((1, 3)))
        if rng.random() < 0.3:
            body = body._replace(wait_ms=rng.choice(_WAITS_MS), tail=rng.random() < 0.5)
        return self.made(body)

    def take(self, limit: int) -> AccountCall:
        """What is due or new."""
        rng = self.rng
        body = groups.GroupRead(NAMESPACE, self.account.name, GROUP, self._consumer, limit)
        if rng.random() < 0.4:
            return self.made(body._replace(wait_ms=rng.choice(_WAITS_MS)))
        return self.made_exact(body)

    def _give(self, draw: float) -> AccountCall:
        rng, names = self.rng, (NAMESPACE, self.account.name, GROUP, self._consumer)
        some = tuple(rng.sample(self.held, min(len(self.held), rng.choice((1, 1, 3)))))
        self.held = [each for each in self.held if each not in some]
        if draw < _ACK:
            return self.made_exact(groups.GroupAck(*names, some))
        return self.made_exact(groups.GroupNack(*names, some, rng.choice((0, 0, 200))))

    def finish(self) -> None:
        """What it holds it gives up, so that nobody waits for the leases to end."""
        if self.call is None and self.held:
            held, self.held = tuple(self.held), []
            self.call = self.made(groups.GroupAck(NAMESPACE, self.account.name, GROUP, b"", held))
        super().finish()

    def heard(self, call: AccountCall, answer: Answer) -> None:
        super().heard(call, answer)
        if isinstance(call.body, groups.GroupCreate):
            self._has_group = True
        elif isinstance(call.body, wire.StreamRead):
            assert isinstance(answer, wire.Records)
            is_next = call.body.start == self._next and not call.body.tail
            if is_next and answer.records:
                last = answer.records[-1].id
                self._next = last._replace(sequence=last.sequence + 1)
        elif isinstance(answer, wire.Records | groups.Claimed):
            self.held += [each.id for each in answer.records]


class StreamDrain(StreamClient):
    """After the faults: takes and acknowledges what the group has left, and reads all there is."""

    log: tuple[wire.StreamRecord, ...] | None = None
    """What it read there in the end."""
    _found_nothing = False
    _is_empty = False

    others_are_busy = False
    """Then more may come."""

    @property
    def is_busy(self) -> bool:
        return self.log is None

    def finish(self) -> None:
        if self.call is None and self.log is None:
            self.act()
        else:
            super().finish()

    def next_call(self) -> AccountCall:
        name = self.account.name
        if self.held:
            held, self.held = tuple(self.held), []
            return self.made(groups.GroupAck(NAMESPACE, name, GROUP, b"", held))
        if self._is_empty and not self.others_are_busy:
            return self.made(wire.StreamRead(NAMESPACE, name, limit=_ALL))
        if self._found_nothing:
            self._found_nothing = False
            self.account.closed_at = self.account.now()
            return self.made(groups.GroupInfo(NAMESPACE, name, GROUP))
        return self.take(_ALL)

    def heard(self, call: AccountCall, answer: Answer) -> None:
        super().heard(call, answer)
        if isinstance(answer, groups.GroupInfoResult):
            self._is_empty = not (answer.pending or answer.lag)
        elif isinstance(answer, wire.Records):
            if isinstance(call.body, wire.StreamRead):
                self.log = answer.records
            else:
                self._found_nothing = not answer.records
