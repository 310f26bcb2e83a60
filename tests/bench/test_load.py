"""What the load generator sends, and what it makes of a window."""

from collections import Counter
from itertools import islice
from random import Random

import pytest

from bench.frames import Ground, Workload, fresh_names, mgets, mixed, scans, zipfian
from bench.load import shares
from bench.window import Sample, Window, measure
from flo.wire.connection import Request, ServerConnection
from flo.wire.messages import Body, KvGet, KvMget, KvPut, KvScan
from flo.wire.routing import partition_of

GROUND = Ground(partitions=4, keys=1_000, value_bytes=50)


def requests_of(workload: Workload) -> list[tuple[int, Body]]:
    found: list[tuple[int, Body]] = []
    for partition, frames in workload.frames.items():
        for item in ServerConnection().receive(b"".join(frames)):
            assert isinstance(item, Request)
            found.append((partition, item.body))
    return found


def test_mixed_reads_four_times_as_often_as_it_writes() -> None:
    requests = requests_of(mixed(GROUND))
    reads = [body for _, body in requests if isinstance(body, KvGet)]
    writes = [body for _, body in requests if isinstance(body, KvPut)]
    assert len(reads) + len(writes) == len(requests)
    assert 0.79 < len(reads) / len(requests) < 0.81
    assert {len(write.value) for write in writes} == {50}


def test_mixed_goes_where_its_keys_are() -> None:
    for partition, body in requests_of(mixed(GROUND))[::500]:
        assert isinstance(body, KvGet | KvPut)
        assert partition_of(body.namespace, body.key, 4) == partition


def test_few_keys_are_wanted_often() -> None:
    drawn = Counter(islice(zipfian(Random(1), 1_000), 200_000))
    assert set(drawn) <= set(range(1_000))
    # The chances are as 1 to 10 ** -0.99 and so on.
    assert drawn[0] / drawn[9] == pytest.approx(10**0.99, rel=0.1)
    assert drawn[0] / drawn[99] == pytest.approx(100**0.99, rel=0.2)


def test_reads_of_several_keys_ask_several_partitions() -> None:
    for _, body in requests_of(mgets(GROUND)):
        assert isinstance(body, KvMget)
        assert len(body.keys) == 16
        assert len({partition_of(body.namespace, key, 4) for key in body.keys}) > 1


def test_a_scan_finds_a_page_of_keys() -> None:
    bodies = [body for _, body in requests_of(scans(GROUND))]
    prefixes = {body.prefix for body in bodies if isinstance(body, KvScan)}
    assert len(prefixes) == len(bodies) == 10
    assert b"key-0000000004" in prefixes


def test_names_are_new_and_one_for_each_partition() -> None:
    names = fresh_names(4)
    assert [partition_of(b"bench", name, 4) for name in names] == [0, 1, 2, 3]
    assert not set(names) & set(fresh_names(4))


def test_nodes_get_as_many_requests_as_fall_to_them() -> None:
    workload = Workload({0: [b""] * 70, 1: [b""] * 20, 2: [b""] * 10})
    leaders = {0: 1, 1: 2, 2: 3}
    assert shares(workload, [1, 2, 3], leaders, 10) == {1: 7, 2: 2, 3: 1}
    assert shares(workload, [1, 2, 3], leaders, 1) == {1: 1}
    assert shares(workload, [1, 2, 3], None, 10) == {1: 4, 2: 3, 3: 3}
    assert shares(workload, [1, 2, 3], {0: 1, 1: 1, 2: 1}, 5) == {1: 5}


class Load:
    """A load in which an operation succeeds each hundredth of a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sample = Sample()
        self._succeeded = 0

    def clock(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        more = int(100 * self.now + 1e-6) - self._succeeded
        self._succeeded += more
        self.sample.latencies += [0.1] * more

    async def measured(self, window: Window) -> Sample:
        return await measure(self.sample, window, lambda: self.now, self.pause, clock=self.clock)


async def test_a_window_is_counted_second_by_second_without_its_warm_up() -> None:
    sample = await Load().measured(Window(seconds=2.5, warmup_s=1.0))
    assert len(sample.latencies) == 250
    assert sample.by_second == [100, 100]
    assert (sample.seconds, sample.per_second) == (2.5, 100)
    assert sample.server_cpu_s == pytest.approx(2.5)


async def test_a_window_ends_when_enough_were_answered() -> None:
    load = Load()
    sample = await load.measured(Window(count=150, warmup_s=3.0))
    assert 150 <= len(sample.latencies) < 160
    assert sample.per_second == pytest.approx(100, rel=0.1)
