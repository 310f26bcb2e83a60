"""Cursors hold the last key, or name it."""

from random import Random

import pytest

from cluster.scan_cursors import KEPT_MAX, KEPT_S, KEY_BYTES_MAX, CursorError, ScanCursors
from flo.wire.limits import (
    KEY_WITH_NAMESPACE_BYTES_MAX,
    V1_CURSOR_BYTES_MAX,
    V2_CURSOR_BYTES_MAX,
)
from tests.unit.node.kit import ManualClock

V2_KEY_BYTES_MAX = KEY_BYTES_MAX[2]
LONG = b"x" * (V2_KEY_BYTES_MAX + 1)
LONGEST = b"x" * KEY_WITH_NAMESPACE_BYTES_MAX


def cursors(node_id: int = 1, *, clock: ManualClock | None = None, seed: int = 1) -> ScanCursors:
    return ScanCursors(node_id, clock or ManualClock(), Random(seed))


@pytest.mark.parametrize("key", [b"a", b"x" * V2_KEY_BYTES_MAX, LONG, LONGEST, b"n\x00\xff"])
def test_a_cursor_leads_back_to_its_key(key: bytes) -> None:
    kept = cursors()
    for revision, bytes_max in ((1, V1_CURSOR_BYTES_MAX), (2, V2_CURSOR_BYTES_MAX)):
        cursor = kept.make(key, revision)
        assert len(cursor) <= bytes_max
        assert kept.resolve(cursor) == key


@pytest.mark.parametrize(("revision", "key"), [(1, b"key"), (1, LONGEST), (2, b"key")])
def test_a_key_that_the_cursor_holds_is_understood_everywhere(revision: int, key: bytes) -> None:
    assert cursors(2).resolve(cursors(1).make(key, revision)) == key


def test_no_cursor_is_the_beginning() -> None:
    assert cursors().resolve(b"") == b""


@pytest.mark.parametrize("cursor", [b"?", b"n", b"n123456789", b"n" + bytes(11), b"\x00"])
def test_a_malformed_cursor_is_told_apart(cursor: bytes) -> None:
    with pytest.raises(CursorError, match="malformed"):
        cursors().resolve(cursor)


def test_a_cursor_of_another_node_names_it() -> None:
    with pytest.raises(CursorError, match="node 2, this is node 1"):
        cursors(1).resolve(cursors(2).make(LONG, 2))


def test_a_cursor_from_before_a_restart_is_not_taken_for_another() -> None:
    old = cursors(seed=1).make(LONG, 2)
    restarted = cursors(seed=2)
    restarted.make(LONG + b"of another scan", 2)
    with pytest.raises(CursorError, match="expired"):
        restarted.resolve(old)


def test_the_oldest_go_when_there_are_too_many() -> None:
    kept = cursors()
    first = kept.make(LONG, 2)
    second = kept.make(LONG, 2)
    for _ in range(KEPT_MAX - 1):
        kept.make(LONG, 2)
    with pytest.raises(CursorError, match="expired: start the scan again"):
        kept.resolve(first)
    assert kept.resolve(second) == LONG


def test_old_ones_make_room() -> None:
    clock = ManualClock()
    kept = cursors(clock=clock)
    old = kept.make(LONG, 2)
    clock.advance(KEPT_S + 1)
    new = kept.make(LONG, 2)
    with pytest.raises(CursorError, match="expired"):
        kept.resolve(old)
    assert kept.resolve(new) == LONG
