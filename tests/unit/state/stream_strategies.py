"""Random commands on streams and groups that meet each other: few names, few ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.unit.state import stream_kit as kit
from tests.unit.state.helpers import START_MS, within
from tests.unit.state.strategies import triples
from tests.unit.state.stream_kit import Bounds, Settings

if TYPE_CHECKING:
    from cluster.state.commands import Command

# Also a stream of dead letters, and a name of several pieces.
streams = st.sampled_from([b"s", b"s", b"s.dlq", b"long" * 200])
groups = st.sampled_from([b"g", b"h"])
consumers = st.sampled_from([b"one", b"two"])
limits = st.sampled_from([1, 3, 1000])
keys = st.sampled_from([None, None, b"k1", b"k2"])
payloads = st.sampled_from([b"", b"a", bytes(100)])
bounds = st.builds(
    Bounds,
    st.sampled_from([None, 0, 1, 40]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, None, 0, 150]),
)
cuts = st.builds(
    Bounds,
    st.sampled_from([None, 1, 40]),
    st.sampled_from([None, 1]),
    st.sampled_from([None, 150]),
)
group_settings = st.builds(
    Settings,
    st.sampled_from([None, 0, 5, 1000]),
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, 1, 5]),
)
stream_steps_ms = st.sampled_from([0, 0, 0, 0, 5, 1000, 30_000])
ids = st.tuples(
    st.sampled_from([0, 0, 0, 5, 1000]).map(lambda ms: START_MS + ms), st.integers(0, 45)
)
some_ids = st.lists(ids, max_size=8).map(tuple)


def _append(stream: bytes, count: int, payload: bytes, key: bytes | None) -> Command:
    return kit.append(*[payload] * count, stream=stream, key=key)


def _ack(stream: bytes, group: bytes, of: tuple[tuple[int, int], ...]) -> Command:
    return kit.ack(*of, consumer=b"one", group=group, stream=stream)


def _nack(stream: bytes, group: bytes, of: tuple[tuple[int, int], ...], delay_ms: int) -> Command:
    return kit.nack(*of, delay_ms=delay_ms, group=group, stream=stream)


def _touch(stream: bytes, group: bytes, of: tuple[tuple[int, int], ...]) -> Command:
    return kit.touch(*of, consumer=b"two", extend_ms=7, group=group, stream=stream)


_appends = st.builds(_append, streams, st.sampled_from([1, 2, 30]), payloads, keys)
_reads = st.builds(kit.read, consumers, limits, group=groups, stream=streams)
stream_commands: st.SearchStrategy[Command] = st.one_of(
    _appends,
    _appends,
    _reads,
    _reads,
    st.builds(_ack, streams, groups, some_ids),
    st.builds(_nack, streams, groups, some_ids, st.sampled_from([0, 0, 5])),
    st.builds(_touch, streams, groups, some_ids),
    st.builds(
        kit.claim,
        consumers,
        st.sampled_from([0, 1]),
        limit=limits,
        group=groups,
        stream=streams,
    ),
    st.builds(kit.trim, st.none() | ids, cuts, stream=streams, dry_run=st.booleans()),
    st.builds(kit.create, st.sampled_from([1, 3]), bounds, stream=streams),
    st.builds(kit.alter, bounds, stream=streams),
    st.builds(kit.delete, stream=streams, force=st.booleans()),
    st.builds(
        kit.group_create,
        groups,
        mode=st.integers(0, 2),
        start=st.none() | ids,
        settings=group_settings,
        stream=streams,
    ),
    st.builds(kit.configure, group_settings, group=groups, stream=streams),
    st.builds(kit.group_delete, groups, stream=streams),
    st.builds(kit.join, consumers, group=groups, stream=streams),
    st.builds(kit.leave, consumers, group=groups, stream=streams),
)
stream_batches: st.SearchStrategy[list[Command]] = st.lists(
    stream_commands | st.builds(within, triples, stream_commands), max_size=6
)
