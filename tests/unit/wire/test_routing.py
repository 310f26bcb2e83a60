"""Golden values of the routing: a change here would orphan every stored key.

The hashes were computed apart from the code, with `b2sum -l 64` over namespace, NUL and routing
part, its 16 hex digits read as a little-endian number.
"""

from __future__ import annotations

import pytest

from flo.wire import partition_of, routing_part, stream_home


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (b"k", b"k"),
        (b"", b""),
        (b"user:42", b"user:42"),
        (b"user:42:name", b"user:42"),
        (b"user:42:name:first", b"user:42"),
        (b"a:b:", b"a:b"),
        (b"::", b":"),
        (b":a:b", b":a"),
        (b"{user:42}:name", b"user:42"),
        (b"x:{tag}:y:z", b"tag"),
        (b"{a}{b}", b"a"),
        (b"{{a}}", b"{a"),
        (b"a{}b:c:d", b"a{}b:c"),
        (b"{}{a}", b"{}{a}"),
        (b"}{a", b"}{a"),
        (b"}{a}", b"a"),
        (b"{open", b"{open"),
        (b"{a:b:c", b"{a:b"),
    ],
)
def test_routing_part(key: bytes, part: bytes) -> None:
    assert routing_part(key) == part


@pytest.mark.parametrize(
    ("namespace", "key", "number"),
    [
        (b"default", b"k", 3304044348978550084),
        (b"default", b"user:42:name", 11413523102702245344),
        (b"default", b"user:42", 11413523102702245344),
        (b"default", b"{user:42}", 11413523102702245344),
        (b"other", b"k", 1816070345675423888),
        (b"default", b"{tag}:a", 12397483382894946665),
        (b"prod", b"lock", 6140915790232180410),
        (b"default", b"caf\xe9", 14409255442283928106),
    ],
)
def test_golden_partitions(namespace: bytes, key: bytes, number: int) -> None:
    for partition_count in (1, 2, 8, 13, 64, 65_535):
        assert partition_of(namespace, key, partition_count) == number % partition_count


@pytest.mark.parametrize(
    ("stream", "home"),
    [
        (b"events", b"events"),
        (b"events.dlq", b"events"),
        (b"events.dlq.dlq", b"events"),
        (b"events.dlq.x", b"events.dlq.x"),
        (b"eventsdlq", b"eventsdlq"),
        (b"shop:events:eu.dlq", b"shop:events:eu"),
        (b"{shop}events.dlq", b"{shop}events"),
        (b"{shop.dlq}", b"{shop.dlq}"),
        (b".dlq", b".dlq"),
        (b".dlq.dlq", b".dlq"),
    ],
)
def test_dead_letters_live_with_their_stream(stream: bytes, home: bytes) -> None:
    assert stream_home(stream) == home


@pytest.mark.parametrize(
    ("stream", "number"),
    [
        (b"events", 990124125901707855),
        (b"events.dlq", 990124125901707855),
        (b"shop:events", 6341829817891979751),
        (b"shop:events.dlq", 6341829817891979751),
        (b"{tag}:a.dlq", 12397483382894946665),
    ],
)
def test_golden_partitions_of_streams(stream: bytes, number: int) -> None:
    for partition_count in (1, 2, 8, 13, 64, 65_535):
        home = stream_home(stream)
        assert partition_of(b"default", home, partition_count) == number % partition_count


def test_keys_spread_over_the_partitions() -> None:
    homes = [partition_of(b"default", b"key-%d" % number, 8) for number in range(8000)]
    assert all(800 < homes.count(partition) < 1200 for partition in range(8))
