"""A group with one holder: nobody else has a record, and whoever takes over begins in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cluster.state.group_lease import LEASE_MS
from tests.unit.state import stream_kit as kit
from tests.unit.state.stream_kit import Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.stream_rows import Id

EXCLUSIVE = 1

consumers = st.sampled_from([b"one", b"two", b"three"])
numbers = st.integers(1, 4)
works = st.tuples(st.sampled_from(["read", "read", "ack", "leave"]), consumers, numbers)
others = st.tuples(st.sampled_from(["append", "pause"]), st.just(b""), numbers)
steps = st.lists(st.one_of(works, works, others), max_size=60)


class Run:
    """The group, and who holds it as its users see it."""

    def __init__(self) -> None:
        self.bench = StreamBench()
        settings = Settings(ack_timeout_ms=0, max_deliver=0, max_standbys=5)
        self.bench.one(kit.group_create(mode=EXCLUSIVE, settings=settings))
        self.at_ms = 0
        self.records: list[Id] = []
        self.done: set[Id] = set()
        self.holder = b""
        self.until_ms = 0
        self.held: list[Id] = []
        """What the holder was given, and is not done."""

    def step(self, what: str, who: bytes, number: int) -> None:
        match what:
            case "append":
                self.records += self.bench.append(*[b"x"] * number, at_ms=self.at_ms)
            case "pause":
                self.at_ms += number * 9_000
                self.bench.run(at_ms=self.at_ms)
            case "read":
                self.read(who, number)
            case "ack" if self.held:
                of = self.held.pop(number % len(self.held))
                self.done.add(of)
                self.bench.one(kit.ack(of, consumer=who), at_ms=self.at_ms)
                if who == self.holder and self.at_ms < self.until_ms:
                    self.until_ms = self.at_ms + LEASE_MS
            case "leave":
                self.bench.one(kit.leave(who), at_ms=self.at_ms)
                if who == self.holder:
                    self.until_ms = 0
            case _:
                pass

    def read(self, who: bytes, limit: int) -> list[Id]:
        taken = self.bench.take(who, limit, at_ms=self.at_ms)
        if who != self.holder and self.at_ms < self.until_ms:
            assert not taken
            return taken
        if self.at_ms >= self.until_ms:
            self.held = []
        self.holder, self.until_ms = who, self.at_ms + LEASE_MS
        undone = [of for of in self.records if of not in self.done and of not in self.held]
        assert taken == undone[:limit]
        self.held += taken
        return taken


@given(steps)
def test_the_holder_gets_everything_in_order(steps: list[tuple[str, bytes, int]]) -> None:
    run = Run()
    for step in steps:
        run.step(*step)
    run.at_ms += LEASE_MS
    run.bench.run(at_ms=run.at_ms)
    assert run.read(b"last", 1000) == [of for of in run.records if of not in run.done]
