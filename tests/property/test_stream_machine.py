"""Streams and groups against a model that says the same in the plainest way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.state.commands import EMPTY
from cluster.state.stream_rows import Id, previous_id
from cluster.state.stream_trim import SWEPT_MIN
from tests.property.stream_model import DUE, Model, ModelEntry, ModelGroup
from tests.unit.state import stream_kit as kit
from tests.unit.state.helpers import START_MS, Triple, open_session, within
from tests.unit.state.stream_kit import STREAM_TABLES, Bounds, Recorded, Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.commands import Command, Result

# The second is the stream of dead letters of the first; the last has a name of several pieces.
STREAMS = [b"s", b"s.dlq", b"long" * 200]
GROUPS = [b"g", b"h"]
CONSUMERS = [b"one", b"two"]
FAR_MS = 10_000_000_000

streams = st.sampled_from([b"s"] * 9 + STREAMS)
groups = st.sampled_from([b"g", b"g", b"g", b"h"])
rarely = st.sampled_from([False] * 5 + [True])
every_fate = st.sampled_from(["ack", "nack", "delay", "touch", "claim", "keep"])
fates = st.lists(every_fate, min_size=1, max_size=3)
consumers = st.sampled_from(CONSUMERS)
names = st.sampled_from([b"", *CONSUMERS])
limits = st.sampled_from([1, 2, 3, 100])
payloads = st.sampled_from([b"", b"a", b"bcd", bytes(100)])
headers = st.sampled_from([(), ((b"name", b"value"), (b"name", b""))])
items = st.lists(st.tuples(payloads, headers), min_size=1, max_size=5)
partitions = st.sampled_from([None, None, 0, 1, 3])
keys = st.sampled_from([None, b"k1", b"k2", b"k3"])
bounds = st.builds(
    Bounds,
    st.sampled_from([None, 0, 0, 3, 40]),
    st.sampled_from([None, 0, 0, 1, 600]),
    st.sampled_from([None, 0, 0, 5, 200]),
)
cuts = st.builds(
    Bounds,
    st.sampled_from([None, 1, 3, 40]),
    st.sampled_from([None, None, 1, 60]),
    st.sampled_from([None, None, 5, 200]),
)
timeouts = st.sampled_from([None, 0, 100, 1000])
delays = st.sampled_from([0, 0, 1, 500])
places = st.integers(0, 2**32)
pieces = st.lists(places, min_size=1, max_size=4)
steps_ms = st.sampled_from([0, 0, 0, 1, 99, 500, 1000, 400_000])


class StreamMachine(RuleBasedStateMachine):
    """Commands go through the encoding of the log, as in life."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = StreamBench()
        self.model = Model()
        self.at_ms = 0
        self.sequence = 0
        self.latest: tuple[Command, Result] | None = None
        self.session = 0
        self.seen: dict[tuple[bytes, bytes], list[Id]] = {}

    def run_command(self, command: Command) -> Result:
        """In a session, so that it can be sent again; opened anew when it has expired."""
        self.model.begin(START_MS + self.at_ms)
        opened, *_ = self.bench.run(open_session(7), at_ms=self.at_ms)
        self.session = cast(int, opened[1])
        self.sequence += 1
        floor = max(1, self.sequence - 3)
        command = within(Triple(self.session, self.sequence, floor), command)
        result = self.bench.one(command, at_ms=self.at_ms)
        self.latest = (command, result)
        return result

    def check(self, command: Command, expected: tuple[int, ...]) -> None:
        result = self.run_command(command)
        assert result[: len(expected)] == expected

    def ids_of(self, stream: bytes, group: bytes, wanted: list[int]) -> list[Id]:
        """Entries of a group, ids of records, and one that is nowhere."""
        found = self.model.streams.get(stream)
        known = [(1, 1)]
        if found is not None:
            known += [record.id for record in found.records]
            if group in found.groups:
                known += 3 * list(found.groups[group].entries)
        return [known[each % len(known)] for each in wanted]

    # --- streams ---

    @rule(stream=streams, items=items, partition=partitions, key=keys)
    def append(
        self,
        stream: bytes,
        items: list[tuple[bytes, tuple[tuple[bytes, bytes], ...]]],
        partition: int | None,
        key: bytes | None,
    ) -> None:
        command = kit.append(stream=stream, partition=partition, key=key)
        command = (*command[:6], tuple(items), *command[7:])
        result = self.run_command(command)
        assert result[: 3 if result[0] == 0 else 1] == self.model.append(
            stream, items, partition, key
        )

    @rule(stream=streams, count=st.integers(20, 60))
    def append_many(self, stream: bytes, count: int) -> None:
        made = [(b"%d" % number, ()) for number in range(count)]
        command = kit.append(*(payload for payload, _ in made), stream=stream)
        result = self.run_command(command)
        assert result == self.model.append(stream, list(made), None, None)

    @rule(stream=streams, place=places | st.none(), bounds=cuts, dry_run=st.booleans())
    def trim(self, stream: bytes, place: int | None, bounds: Bounds, dry_run: bool) -> None:
        before = None if place is None else self.ids_of(stream, b"", [place])[0]
        result = self.run_command(kit.trim(before, bounds, stream=stream, dry_run=dry_run))
        assert result == self.model.trim(stream, before, bounds, dry_run=dry_run)

    @rule(stream=streams, partitions=st.sampled_from([1, 3]), bounds=bounds)
    def create(self, stream: bytes, partitions: int, bounds: Bounds) -> None:
        result = self.run_command(kit.create(partitions, bounds, stream=stream))
        assert result[:1] == self.model.create(stream, partitions, bounds)

    @rule(stream=streams, bounds=bounds)
    def alter(self, stream: bytes, bounds: Bounds) -> None:
        result = self.run_command(kit.alter(bounds, stream=stream))
        assert result[:1] == self.model.alter(stream, bounds)

    @rule(stream=streams, force=rarely)
    def delete(self, stream: bytes, force: bool) -> None:
        result = self.run_command(kit.delete(stream=stream, force=force))
        expected = self.model.delete(stream, force=force)
        assert result[: len(expected)] == expected
        if expected == (0, True):
            self.seen = {key: ids for key, ids in self.seen.items() if key[0] != stream}

    # --- groups ---

    @rule(
        stream=streams,
        group=groups,
        begin=st.sampled_from(["first", "tail", "id"]),
        place=places,
        timeout_ms=timeouts,
        max_deliver=st.sampled_from([None, 0, 1, 2]),
    )
    def group_create(
        self,
        stream: bytes,
        group: bytes,
        begin: str,
        place: int,
        timeout_ms: int | None,
        max_deliver: int | None,
    ) -> None:
        start = self.ids_of(stream, b"", [place])[0] if begin == "id" else None
        settings = Settings(timeout_ms, max_deliver)
        command = kit.group_create(
            group, start=start, tail=begin == "tail", settings=settings, stream=stream
        )
        assert self.run_command(command) == (0,)
        known = self.model.group(stream, group)
        made = self.model.open_group(stream, group)
        if known is None and start is not None:
            made.cursor = previous_id(start)
        elif known is None and begin == "tail":
            made.cursor = self.model.streams[stream].last
        self.model.set_group(made, timeout_ms, max_deliver)

    @rule(stream=streams, group=groups, timeout_ms=timeouts, max_deliver=st.integers(0, 3))
    def configure(
        self, stream: bytes, group: bytes, timeout_ms: int | None, max_deliver: int
    ) -> None:
        settings = Settings(timeout_ms, max_deliver)
        result = self.run_command(kit.configure(settings, group=group, stream=stream))
        known = self.model.group(stream, group)
        assert (result[0] == 0) == (known is not None)
        if known is not None:
            self.model.set_group(known, timeout_ms, max_deliver)

    @rule(stream=streams, group=groups, really=rarely)
    def group_delete(self, stream: bytes, group: bytes, really: bool) -> None:
        if not really:
            return
        result = self.run_command(kit.group_delete(group, stream=stream))
        known = self.model.group(stream, group)
        assert result == (0, known is not None)
        if known is not None:
            del self.model.streams[stream].groups[group]
            self.seen.pop((stream, group), None)

    @rule(stream=streams, group=groups, consumer=consumers)
    def join(self, stream: bytes, group: bytes, consumer: bytes) -> None:
        assert self.run_command(kit.join(consumer, group=group, stream=stream)) == (0,)
        self.model.open_group(stream, group).members.add(consumer)

    @rule(stream=streams, group=groups, consumer=consumers)
    def leave(self, stream: bytes, group: bytes, consumer: bytes) -> None:
        assert self.run_command(kit.leave(consumer, group=group, stream=stream)) == (0,)
        known = self.model.group(stream, group)
        if known is not None:
            known.members.discard(consumer)

    @rule(group=groups, consumer=consumers, limit=limits, fates=fates)
    def work(self, group: bytes, consumer: bytes, limit: int, fates: list[str]) -> None:
        """Reads, and does with the records what a consumer does."""
        stream = b"s"
        self.read(stream, group, consumer, limit)
        held = [of for of, each in _sorted(self.model.open_group(stream, group)) if each.due_ms]
        for place, of in enumerate(held):
            fate = fates[place % len(fates)]
            if fate == "ack":
                self.acknowledge(stream, group, [of])
            elif fate == "touch":
                self.extend(stream, group, [of], 500)
            elif fate == "claim":
                self.claim(stream, group, consumer, 0, None, limit)
            elif fate != "keep":
                self.give_back(stream, group, [of], 500 if fate == "delay" else 0)

    @rule(stream=streams, group=groups, consumer=consumers, limit=limits)
    def read(self, stream: bytes, group: bytes, consumer: bytes, limit: int) -> None:
        result = self.run_command(kit.read(consumer, limit, group=group, stream=stream))
        new_after = self.model.open_group(stream, group).cursor
        expected = self.model.read(stream, group, consumer, limit)
        if expected == EMPTY:
            assert result == (EMPTY,)
            return
        assert isinstance(expected, list)
        records = kit.recorded(self.bench.expand(result)[2])
        known = {record.id: record for record in self.model.streams[stream].records}
        assert [record.id for record in records] == expected
        for record in records:
            assert record.payload == known[record.id].payload
            assert record.headers == known[record.id].headers
        seen = self.seen.setdefault((stream, group), [])
        seen += [of for of in expected if of > new_after]
        assert seen == sorted(set(seen)), "new records come once, in order"

    @rule(stream=streams, group=groups, wanted=pieces)
    def ack(self, stream: bytes, group: bytes, wanted: list[int]) -> None:
        self.acknowledge(stream, group, self.ids_of(stream, group, wanted))

    def acknowledge(self, stream: bytes, group: bytes, ids: list[Id]) -> None:
        result = self.run_command(kit.ack(*ids, group=group, stream=stream))
        assert result[:1] == self.model.ack(stream, group, ids)

    @rule(stream=streams, group=groups, wanted=pieces, delay_ms=delays, who=names)
    def nack(
        self, stream: bytes, group: bytes, wanted: list[int], delay_ms: int, who: bytes
    ) -> None:
        self.give_back(stream, group, self.ids_of(stream, group, wanted), delay_ms, who)

    def give_back(
        self, stream: bytes, group: bytes, ids: list[Id], delay_ms: int, who: bytes = b""
    ) -> None:
        command = kit.nack(*ids, consumer=who, delay_ms=delay_ms, group=group, stream=stream)
        assert self.run_command(command)[:1] == self.model.nack(stream, group, ids, delay_ms, who)

    @rule(stream=streams, group=groups, wanted=pieces, extend_ms=timeouts, who=names)
    def touch(
        self, stream: bytes, group: bytes, wanted: list[int], extend_ms: int | None, who: bytes
    ) -> None:
        self.extend(stream, group, self.ids_of(stream, group, wanted), extend_ms, who)

    def extend(
        self, stream: bytes, group: bytes, ids: list[Id], extend_ms: int | None, who: bytes = b""
    ) -> None:
        command = kit.touch(*ids, consumer=who, extend_ms=extend_ms, group=group, stream=stream)
        # After the command: timers run before it, so what is due by it runs with the next one.
        result = self.run_command(command)
        assert result[:1] == self.model.touch(stream, group, ids, extend_ms, who)

    @rule(
        stream=streams,
        group=groups,
        consumer=consumers,
        idle_ms=st.sampled_from([0, 1, 99, 1000]),
        place=places | st.none(),
        limit=limits,
    )
    def claim(
        self,
        stream: bytes,
        group: bytes,
        consumer: bytes,
        idle_ms: int,
        place: int | None,
        limit: int,
    ) -> None:
        start = (0, 0) if place is None else self.ids_of(stream, group, [place])[0]
        command = kit.claim(consumer, idle_ms, start=start, limit=limit, group=group, stream=stream)
        result = self.bench.expand(self.run_command(command))
        taken, cursor = self.model.claim(
            stream, group, consumer, min_idle_ms=idle_ms, start=start, limit=limit
        )
        assert [record.id for record in kit.recorded(result[2])] == taken
        assert result[3] == cursor

    # --- around them ---

    @rule(step_ms=steps_ms)
    def pass_time(self, step_ms: int) -> None:
        self.at_ms += step_ms

    @rule()
    def clock_entry(self) -> None:
        self.model.begin(START_MS + self.at_ms)
        assert self.bench.run(at_ms=self.at_ms) == []

    @rule()
    def send_again(self) -> None:
        """The same command has the same result, and no other effect; a read that found nothing may
        find something now, so it is not asked again."""
        if self.latest is None or self.latest[1][0] == EMPTY:
            return
        if self.model.stamp_ms != START_MS + self.at_ms:
            return
        self.model.begin(START_MS + self.at_ms)
        assert self.bench.one(self.latest[0], at_ms=self.at_ms) == self.latest[1]

    @rule()
    def restart(self) -> None:
        before = self.bench.replica.digest()
        self.bench.restart()
        assert self.bench.replica.digest() == before

    @rule()
    def crash(self) -> None:
        """What was not stored is applied again."""
        before = self.bench.replica.digest()
        self.bench.crash()
        assert self.bench.replica.digest() == before

    @rule()
    def store(self) -> None:
        self.bench.replica.store()

    @rule()
    def copy(self) -> None:
        self.bench.copy()

    # --- what must hold ---

    @invariant()
    def streams_are_the_same(self) -> None:
        assert self.bench.streams() == sorted(self.model.streams)
        for name in STREAMS:
            stream = self.model.streams.get(name)
            expected = [] if stream is None else stream.records
            assert self.bench.records(stream=name) == [
                Recorded(record.id, record.payload, record.headers, record.partition)
                for record in expected
            ]
            partitions = 1 if stream is None else max(1, stream.partitions)
            first, last = (expected[0].id, expected[-1].id) if expected else ((0, 0), (0, 0))
            size = sum(len(record.payload) for record in expected)
            counts = (len(expected), size, partitions)
            assert self.bench.info(name) == (0, *first, *last, *counts)
            for number in range(partitions):
                of_partition = self.bench.records(partition=number, stream=name)
                assert [record.id for record in of_partition] == [
                    record.id for record in expected if record.partition == number
                ]

    @invariant()
    def groups_are_the_same(self) -> None:
        for name, stream in self.model.streams.items():
            for group_name, group in stream.groups.items():
                entries = [(of, each.deliveries, each.consumer) for of, each in _sorted(group)]
                assert self.bench.pending(group=group_name, stream=name) == entries
                for consumer in CONSUMERS:
                    assert self.bench.pending(consumer, group=group_name, stream=name) == [
                        each for each in entries if each[2] == consumer
                    ]
                lag = sum(record.id > group.cursor for record in stream.records)
                counted = tuple(
                    (consumer, sum(each[2] == consumer for each in entries), True)
                    for consumer in sorted(group.members)
                )
                info = self.bench.group_info(group_name, stream=name)
                assert info[3:] == (group.cursor, len(entries), lag, counted)
                due = [each for each in group.entries.values() if each.state == DUE]
                # Those of trimmed records are counted until they are passed over.
                record = self.bench.group_record(group_name, stream=name)
                first = stream.records[0].id if stream.records else stream.last
                assert record.due == len(due) or record.swept < first

    def teardown(self) -> None:
        """Nothing is left after deletes, once time has passed."""
        for name in STREAMS:
            self.bench.one(kit.delete(stream=name, force=True), at_ms=self.at_ms)
        # Timers of what was thrown away could bring back a stream of dead letters.
        self.bench.tidy(self.at_ms + FAR_MS)
        self.bench.tidy(self.at_ms + FAR_MS)
        assert self.bench.streams() == []
        assert [self.bench.rows(table) for table in STREAM_TABLES] == [0] * len(STREAM_TABLES)


def _sorted(group: ModelGroup) -> list[tuple[Id, ModelEntry]]:
    return sorted(group.entries.items(), key=lambda item: item[0])


assert SWEPT_MIN < 20, "append_many leaves rows to the garbage"

StreamMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestStreams = StreamMachine.TestCase
