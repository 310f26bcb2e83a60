"""A group that looks at keys: never two consumers with one key, each key in order, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.state import stream_kit as kit
from tests.unit.state.stream_kit import Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.stream_rows import Id

KEY_SHARED = 2
CONSUMERS = [b"one", b"two", b"three"]

consumers = st.sampled_from(CONSUMERS)
appends = st.tuples(st.just("append"), st.integers(0, 4), st.integers(1, 4))
reads = st.tuples(st.just("read"), consumers, st.integers(1, 4))
acks = st.tuples(st.just("ack"), consumers, st.integers(0, 3))
nacks = st.tuples(st.just("nack"), consumers, st.integers(0, 3))
pauses = st.tuples(st.just("pause"), st.sampled_from([1, 100]), st.just(0))
steps = st.lists(st.one_of(appends, reads, reads, acks, nacks, pauses), max_size=60)


class Run:
    """The group, and what its consumers hold."""

    def __init__(self, slots: int) -> None:
        self.bench = StreamBench()
        settings = Settings(ack_timeout_ms=100, max_deliver=0, slots=slots)
        self.bench.one(kit.group_create(mode=KEY_SHARED, settings=settings))
        self.at_ms = 0
        self.keys: dict[Id, int] = {}
        self.held: dict[Id, tuple[bytes, int]] = {}
        """Consumer, and until when."""
        self.done: set[Id] = set()
        self.first_seen: dict[int, list[Id]] = {}

    def append(self, key: int, count: int) -> None:
        """Key 0 is none."""
        name = b"key %d" % key if key else None
        result = self.bench.one(kit.append(*[b"x"] * count, key=name), at_ms=self.at_ms)
        _, ms, sequence = result
        assert isinstance(ms, int)
        assert isinstance(sequence, int)
        self.keys |= {(ms, sequence + place): key for place in range(count)}

    def read(self, consumer: bytes, limit: int) -> list[Id]:
        self.expire()
        ids = self.bench.take(consumer, limit, at_ms=self.at_ms)
        for of in ids:
            assert of not in self.held
            assert of not in self.done
            key = self.keys[of]
            others = {who for each, (who, _) in self.held.items() if self.keys[each] == key}
            assert not key or others <= {consumer}
            self.held[of] = (consumer, self.at_ms + 100)
            seen = self.first_seen.setdefault(key, [])
            if of not in seen:
                assert not key or not seen or of > seen[-1]
                seen.append(of)
        return ids

    def end(self, consumer: bytes, place: int, *, done: bool) -> None:
        self.expire()
        mine = sorted(of for of, (who, _) in self.held.items() if who == consumer)
        if not mine:
            return
        of = mine[place % len(mine)]
        del self.held[of]
        if done:
            self.done.add(of)
        self.bench.one(kit.ack(of) if done else kit.nack(of), at_ms=self.at_ms)

    def expire(self) -> None:
        self.held = {of: each for of, each in self.held.items() if each[1] > self.at_ms}

    def step(self, what: str, who: object, number: int) -> None:
        if what == "append":
            assert isinstance(who, int)
            self.append(who, number)
        elif what == "pause":
            assert isinstance(who, int)
            self.at_ms += who
            self.bench.run(at_ms=self.at_ms)
        else:
            assert isinstance(who, bytes)
            if what == "read":
                self.read(who, number)
            else:
                self.end(who, number, done=what == "ack")


@given(steps, st.sampled_from([1024, 1024, 1, 2]))
def test_each_key_is_with_one_consumer_and_every_record_gets_there(
    steps: list[tuple[str, object, int]], slots: int
) -> None:
    run = Run(slots)
    for step in steps:
        run.step(*step)
        record = run.bench.group_record()
        assert 0 <= record.parked <= record.due
    # All leases end; then one consumer after the other takes what there is.
    run.at_ms += 1000
    run.bench.run(at_ms=run.at_ms)
    while run.done != set(run.keys):
        before = len(run.done)
        for consumer in CONSUMERS:
            for of in run.read(consumer, 3):
                run.bench.one(kit.ack(of), at_ms=run.at_ms)
                run.done.add(of)
                del run.held[of]
        assert len(run.done) > before
    record = run.bench.group_record()
    assert (record.pending, record.due, record.parked) == (0, 0, 0)
    assert run.bench.group_info()[4:6] == (0, 0)
