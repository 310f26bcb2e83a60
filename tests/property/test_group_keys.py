"""A group that looks at keys: never two consumers with one key, each key in order, nothing lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from cluster.state import group_rows as rows
from cluster.state.group_rows import NO_SLOT
from cluster.state.stream_rows import FIRST_ID
from tests.unit.state import stream_kit as kit
from tests.unit.state.stream_kit import Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.stream_rows import Id

KEY_SHARED = 2
CONSUMERS = [b"one", b"two", b"three"]

consumers = st.sampled_from(CONSUMERS)
appends = st.tuples(st.just("append"), st.integers(0, 4), st.integers(1, 4))
reads = st.tuples(st.just("read"), consumers, st.integers(1, 4))
claims = st.tuples(st.just("claim"), consumers, st.sampled_from([0, 1, 50]))
delays = st.tuples(st.just("delay"), consumers, st.integers(0, 3))
trims = st.tuples(st.just("trim"), st.integers(0, 3), st.just(0))
acks = st.tuples(st.just("ack"), consumers, st.integers(0, 3))
nacks = st.tuples(st.just("nack"), consumers, st.integers(0, 3))
pauses = st.tuples(st.just("pause"), st.sampled_from([1, 100]), st.just(0))
kinds = (appends, appends, reads, reads, reads, acks, nacks, delays, claims, claims, trims, pauses)
steps = st.lists(st.one_of(kinds), max_size=60)


class Run:
    """The group, and what its consumers hold."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
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
            key = self.hold(of, consumer)
            seen = self.first_seen.setdefault(key, [])
            if of not in seen:
                assert not key or not seen or of > seen[-1]
                seen.append(of)
        return ids

    def hold(self, of: Id, consumer: bytes) -> int:
        """A record is with a consumer, and so are all of its key; what key that is."""
        assert of not in self.done
        key = self.keys[of]
        others = {who for each, (who, _) in self.held.items() if self.keys[each] == key}
        assert not key or others <= {consumer}
        self.held[of] = (consumer, self.at_ms + 100)
        return key

    def claim(self, consumer: bytes, min_idle_ms: int) -> None:
        self.expire()
        before = {entry[0]: entry[2] for entry in self.bench.pending()}
        command = kit.claim(consumer, min_idle_ms, limit=2)
        result = self.bench.expand(self.bench.one(command, at_ms=self.at_ms))
        claimed = [record.id for record in kit.recorded(result[2])]
        idle = {
            of for of, (_, until) in self.held.items() if until - 100 + min_idle_ms <= self.at_ms
        }
        mine = {of for of, (who, _) in self.held.items() if who == consumer}
        assert min_idle_ms or all(before[of] == consumer for of in claimed)
        for of in claimed:
            if of in mine:
                self.hold(of, consumer)
                continue
            assert of not in self.held or of in idle
            # What another had in the slot is due again, and all of that was idle.
            for each in [each for each in self.held if self.is_moved(each, of)]:
                if self.held[each][0] != consumer:
                    assert each in idle
                    del self.held[each]
            self.hold(of, consumer)

    def is_moved(self, one: Id, other: Id) -> bool:
        """Whether two records stand and fall together."""
        slots = [crc32(b"key %d" % self.keys[of]) % self.slots for of in (one, other)]
        return one == other or (slots[0] == slots[1] and bool(self.keys[one] and self.keys[other]))

    def trim(self, count: int) -> None:
        for of in sorted(self.keys)[:count]:
            self.bench.one(kit.trim(of), at_ms=self.at_ms)
            del self.keys[of]
            self.held.pop(of, None)
            self.done.discard(of)

    def end(self, consumer: bytes, place: int, what: str) -> None:
        self.expire()
        mine = sorted(of for of, (who, _) in self.held.items() if who == consumer)
        if not mine:
            return
        of = mine[place % len(mine)]
        who, _ = self.held.pop(of)
        if what == "ack":
            self.done.add(of)
            self.bench.one(kit.ack(of), at_ms=self.at_ms)
        else:
            delay_ms = 150 if what == "delay" else 0
            self.bench.one(kit.nack(of, consumer=who, delay_ms=delay_ms), at_ms=self.at_ms)

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
        elif what == "trim":
            assert isinstance(who, int)
            self.trim(who)
        else:
            assert isinstance(who, bytes)
            if what == "read":
                self.read(who, number)
            elif what == "claim":
                self.claim(who, number)
            else:
                self.end(who, number, what)

    def check_counts(self) -> None:
        """What is counted is what there is."""
        record = self.bench.group_record()
        prefix = rows.group_prefix(record.stream_id, record.group_id)
        with self.bench.read() as txn:
            by_slot = Counter(slot for _, slot in rows.scan_due(txn, prefix, FIRST_ID))
            slots = {slot: rows.find_slot(txn, prefix, slot) for slot in by_slot}
            members = dict(rows.scan_members(txn, prefix))
        free, by_holder = 0, Counter[bytes]()
        for slot, due in by_slot.items():
            held = slots[slot]
            assert slot == NO_SLOT or (held is not None and held.due == due)
            if held is not None and held.consumer:
                by_holder[held.consumer] += due
            else:
                free += due
        assert record.free == free
        assert by_holder == Counter({name: each.due for name, each in members.items()})
        assert 0 <= record.parked <= record.due == by_slot.total()


@given(steps, st.sampled_from([1024, 1024, 1, 2]))
def test_each_key_is_with_one_consumer_and_every_record_gets_there(
    steps: list[tuple[str, object, int]], slots: int
) -> None:
    run = Run(slots)
    for step in steps:
        run.step(*step)
        run.check_counts()
    # All leases end; then one consumer after the other takes what there is.
    run.at_ms += 1000
    run.bench.run(at_ms=run.at_ms)
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
    run.check_counts()
