"""Requests of each kind, encoded before the measurement."""

import bisect
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from flo.wire.connection import encode_request
from flo.wire.messages import Body, CallContext, KvGet, KvMget, KvPut, KvScan
from flo.wire.queue_messages import QueueEnqueue
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.routing import partition_of
from flo.wire.stream_messages import StreamAppend, StreamId, StreamItem, StreamRead

NAMESPACE = b"bench"
MGET_KEYS = 16
READ_SHARE = 0.8
"""Of the mixed requests; the others write."""
ZIPFIAN_THETA = 0.99
"""YCSB's constant: B. F. Cooper et al., "Benchmarking cloud serving systems with YCSB", 2010."""
_DRAWS = 100_000
"""Requests that are drawn before the measurement; after the last comes the first again."""
_KEY = b"key-%012d"
_DIGITS_OF_A_PAGE = 2
"""A scan is for the keys whose names differ in so many last digits: up to 100."""


@dataclass(frozen=True)
class Workload:
    """Encoded requests by partition, so that each can be sent to its leader.

    As many for each partition as fall to it: clients share their requests out by that.
    """

    frames: dict[int, list[bytes]]

    @classmethod
    def puts(cls, *, keys: int, value_bytes: int, partitions: int) -> "Workload":
        value = payload(value_bytes)
        return cls.of_keys(partitions, (KvPut(NAMESPACE, key, value) for key in _keys(keys)))

    @classmethod
    def gets(cls, *, keys: int, partitions: int, stale: bool = False) -> "Workload":
        context = CallContext(stale=True) if stale else None
        return cls.of_keys(partitions, (KvGet(NAMESPACE, key) for key in _keys(keys)), context)

    @classmethod
    def of_keys(
        cls,
        partitions: int,
        bodies: "Iterable[KvPut | KvGet]",
        context: CallContext | None = None,
    ) -> "Workload":
        """Each goes to the partition of its key."""
        frames = _none(partitions)
        for body in bodies:
            partition = partition_of(body.namespace, body.key, partitions)
            frames[partition].append(_encode(body, context))
        return cls(frames)

    @classmethod
    def of_any_partition(cls, partitions: int, bodies: Iterable[Body]) -> "Workload":
        """Requests about several partitions, dealt out evenly."""
        frames = _none(partitions)
        for number, body in enumerate(bodies):
            frames[number % partitions].append(_encode(body))
        return cls(frames)

    @classmethod
    def of_names(cls, names: list[bytes], make: Callable[[bytes], Iterable[Body]]) -> "Workload":
        """For each partition the requests about its name; see `fresh_names`."""
        return cls({number: list(map(_encode, make(name))) for number, name in enumerate(names)})

    def some(self, keys: int) -> "Workload":
        """About as many of its requests, from everywhere among them."""
        total = sum(map(len, self.frames.values()))
        step = max(1, total // keys)
        return Workload({number: frames[::step] for number, frames in self.frames.items()})


@dataclass(frozen=True)
class Ground:
    """What requests are made for."""

    partitions: int
    keys: int
    value_bytes: int


def payload(size: int) -> bytes:
    """Bytes that no compression makes smaller, always the same."""
    return Random(1).randbytes(size)


def mgets(ground: Ground) -> Workload:
    """Of random keys, which lie in several partitions."""
    rng, keys = Random(1), _keys(ground.keys)
    wanted = (tuple(rng.choices(keys, k=MGET_KEYS)) for _ in range(min(_DRAWS, ground.keys)))
    return Workload.of_any_partition(
        ground.partitions, (KvMget(NAMESPACE, each) for each in wanted)
    )


def scans(ground: Ground) -> Workload:
    """Pages of keys and values, which lie in all partitions."""
    prefixes = dict.fromkeys(key[:-_DIGITS_OF_A_PAGE] for key in _keys(ground.keys))
    return Workload.of_any_partition(
        ground.partitions, (KvScan(NAMESPACE, prefix) for prefix in prefixes)
    )


def mixed(ground: Ground) -> Workload:
    """Reads and writes of keys by a zipfian distribution: few are wanted often.

    Drawn for all partitions together, so a partition with a key that is wanted often gets more.
    """
    rng = Random(1)
    value = payload(ground.value_bytes)
    keys = _keys(ground.keys)
    rng.shuffle(keys)
    encode = functools.cache(_encode)
    frames = _none(ground.partitions)
    for number in itertools.islice(zipfian(rng, len(keys)), _DRAWS):
        key = keys[number]
        reads = rng.random() < READ_SHARE
        body = KvGet(NAMESPACE, key) if reads else KvPut(NAMESPACE, key, value)
        frames[partition_of(NAMESPACE, key, ground.partitions)].append(encode(body))
    return Workload(frames)


def enqueues(ground: Ground) -> Workload:
    """One queue in each partition."""
    item = payload(ground.value_bytes)
    names = fresh_names(ground.partitions)
    return Workload.of_names(names, lambda name: [QueueEnqueue(NAMESPACE, name, item)])


def appends(ground: Ground) -> Workload:
    """One stream in each partition."""
    item = StreamItem(payload(ground.value_bytes))
    names = fresh_names(ground.partitions)
    return Workload.of_names(names, lambda name: [StreamAppend(NAMESPACE, name, (item,))])


StreamIds: TypeAlias = dict[bytes, list[StreamId]]
"""By stream, the records to begin a reading with."""


def reads(ids: StreamIds, limit: int) -> Workload:
    """Records from random places of the streams, one stream in each partition."""
    return Workload.of_names(
        list(ids),
        lambda name: [StreamRead(NAMESPACE, name, start=start, limit=limit) for start in ids[name]],
    )


def zipfian(rng: Random, count: int) -> Iterator[int]:
    """Numbers below `count`: the chance of number n is proportional to (n + 1) to the -theta.

    The distribution of YCSB's requests; it scatters the numbers over the keys, as `mixed` does.
    """
    below = list(itertools.accumulate(rank**-ZIPFIAN_THETA for rank in range(1, count + 1)))
    while True:
        yield bisect.bisect_left(below, rng.random() * below[-1])


_runs = itertools.count()


def fresh_names(partitions: int) -> list[bytes]:
    """One for each partition, and new ones each time: nothing is left there from before."""
    run = next(_runs)
    found: dict[int, bytes] = {}
    for number in itertools.count():
        name = b"{bench-%d-%d}" % (run, number)
        found.setdefault(partition_of(NAMESPACE, name, partitions), name)
        if len(found) == partitions:
            break
    return [found[partition] for partition in range(partitions)]


def _keys(count: int) -> list[bytes]:
    return [_KEY % number for number in range(count)]


def _none(partitions: int) -> dict[int, list[bytes]]:
    return {number: [] for number in range(partitions)}


def _encode(body: Body, context: CallContext | None = None) -> bytes:
    return encode_request(1, 1, OP_OF_REQUEST[type(body)], body, context)
