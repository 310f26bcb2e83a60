"""Laws of the routing that hold for every key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flo.wire import partition_of, routing_part, stream_home

ALPHABET = st.sampled_from(b"{}:ab")
KEYS = st.lists(ALPHABET, max_size=12).map(bytes) | st.binary(max_size=40)
PLAIN = st.binary(min_size=1, max_size=10).filter(lambda text: not set(text) & set(b"{}:"))
COUNTS = st.integers(1, 1 << 16)


def slow_routing_part(key: bytes) -> bytes:
    """The rule as it is written down, without looking for speed."""
    _, opening, rest = key.partition(b"{")
    tag, closing, _ = rest.partition(b"}")
    if opening and closing and tag:
        return tag
    segments = key.split(b":")
    return b":".join(segments[:2]) if len(segments) >= 3 else key


@given(KEYS)
def test_it_is_the_rule_as_written(key: bytes) -> None:
    assert routing_part(key) == slow_routing_part(key)


@given(st.binary(max_size=10), KEYS, COUNTS)
def test_a_partition_is_in_range_and_always_the_same(
    namespace: bytes, key: bytes, count: int
) -> None:
    partition = partition_of(namespace, key, count)
    assert 0 <= partition < count
    assert partition == partition_of(namespace, key, count)


@given(PLAIN, PLAIN, st.lists(PLAIN, min_size=1, max_size=3), COUNTS)
def test_the_fields_of_an_entity_live_together(
    kind: bytes, name: bytes, fields: list[bytes], count: int
) -> None:
    entity = kind + b":" + name
    field = entity + b":" + b":".join(fields)
    tagged = b"any{" + entity + b"}thing"
    home = partition_of(b"default", entity, count)
    assert partition_of(b"default", field, count) == home
    assert partition_of(b"default", tagged, count) == home


@given(st.binary(max_size=10), st.sampled_from((b"", b".dlq", b".dlq.dlq")), KEYS, COUNTS)
def test_dead_letters_live_with_their_stream(
    namespace: bytes, end: bytes, name: bytes, count: int
) -> None:
    stream = name + end or b"s"
    home = partition_of(namespace, stream_home(stream), count)
    assert partition_of(namespace, stream_home(stream + b".dlq"), count) == home
