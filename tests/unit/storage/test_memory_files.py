"""What the fake disk loses in a crash, and how its injected failures look."""

from __future__ import annotations

import errno
from random import Random

import pytest

from cluster.storage.memory_files import Crash, MemoryStorage, Operation


def _durable_file(storage: MemoryStorage, data: bytes) -> None:
    file = storage.create("f")
    file.write_at(0, data)
    file.sync()
    storage.sync_directory()


def _content(storage: MemoryStorage) -> bytes:
    file = storage.open("f")
    return file.read_at(0, file.size())


def test_a_power_cut_keeps_exactly_the_synced_bytes() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"synced")
    storage.open("f").write_at(0, b"LOST and longer")
    storage.crash(Random(0), Crash.SYNCED)
    assert _content(storage) == b"synced"


def test_a_killed_process_loses_nothing_but_a_power_cut_after_it_does() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"synced")
    storage.open("f").write_at(0, b"cached")
    storage.crash(Random(0), Crash.PROCESS)
    assert _content(storage) == b"cached"
    storage.crash(Random(0), Crash.SYNCED)
    assert _content(storage) == b"synced"


def test_a_sync_in_the_next_process_keeps_what_the_killed_one_wrote() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"synced")
    storage.open("f").write_at(0, b"cached")
    storage.crash(Random(0), Crash.PROCESS)
    storage.open("f").sync()
    storage.crash(Random(0), Crash.SYNCED)
    assert _content(storage) == b"cached"


def test_unsynced_writes_survive_in_every_combination_and_torn() -> None:
    outcomes: set[bytes] = set()
    for seed in range(400):
        storage = MemoryStorage()
        _durable_file(storage, b"....")
        file = storage.open("f")
        file.write_at(0, b"AB")
        file.write_at(2, b"CD")
        storage.crash(Random(seed), Crash.SUBSET)
        outcomes.add(_content(storage))
    whole = {b"....", b"AB..", b"..CD", b"ABCD"}
    torn = {b"A...", b".B..", b"..C.", b"...D", b"A..D"}
    assert whole | torn <= outcomes


def test_sectors_of_a_write_survive_one_by_one() -> None:
    middle_only = False
    for seed in range(200):
        storage = MemoryStorage()
        _durable_file(storage, bytes(1536))
        storage.open("f").write_at(0, b"x" * 1536)
        storage.crash(Random(seed), Crash.SUBSET)
        content = _content(storage)
        middle_only |= content == bytes(512) + b"x" * 512 + bytes(512)
    assert middle_only


def test_unsynced_directory_operations_are_lost_from_the_end() -> None:
    outcomes: set[tuple[str, ...]] = set()
    for seed in range(50):
        storage = MemoryStorage()
        storage.create("a").close()
        storage.sync_directory()
        storage.create("b").close()
        storage.rename("a", "c")
        storage.remove("b")
        storage.crash(Random(seed), Crash.SUBSET)
        outcomes.add(tuple(storage.list()))
    assert outcomes == {("a",), ("a", "b"), ("b", "c"), ("c",)}


def test_without_a_directory_sync_a_synced_file_has_no_name() -> None:
    storage = MemoryStorage()
    file = storage.create("f")
    file.write_at(0, b"data")
    file.sync()
    storage.crash(Random(0), Crash.SYNCED)
    assert storage.list() == []


def test_handles_die_with_their_process() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"data")
    file = storage.open("f")
    storage.crash(Random(0), Crash.PROCESS)
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write_at(0, b"from beyond")


def test_a_full_disk_stops_growth_at_the_byte_but_not_overwriting() -> None:
    storage = MemoryStorage()
    storage.space_bytes = 10
    file = storage.create("f")
    file.write_at(0, b"12345678")
    with pytest.raises(OSError, match="No space") as caught:
        file.write_at(8, b"9abc")
    assert caught.value.errno == errno.ENOSPC
    assert file.read_at(0, 20) == b"123456789a"
    file.write_at(0, b"over")
    storage.remove("f")
    assert storage.space_bytes == 10


def test_a_failed_write_leaves_a_part() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"....")
    file = storage.open("f")
    storage.fail(Operation.WRITE, after=1, code=errno.ENOSPC)
    file.write_at(0, b"1")
    with pytest.raises(OSError, match="No space"):
        file.write_at(0, b"ABCD")
    assert _content(storage) == b"AB.."
    file.write_at(0, b"WXYZ")
    assert _content(storage) == b"WXYZ"


def test_after_a_failed_sync_a_good_one_proves_nothing() -> None:
    storage = MemoryStorage()
    _durable_file(storage, b"synced")
    file = storage.open("f")
    file.write_at(0, b"cached")
    storage.fail(Operation.SYNC)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()
    assert _content(storage) == b"cached"
    storage.crash(Random(0), Crash.SYNCED)
    assert _content(storage) == b"synced"


def test_any_operation_can_be_the_one_that_fails() -> None:
    storage = MemoryStorage()
    storage.fail(Operation.ANY, after=2)
    file = storage.create("f")
    file.write_at(0, b"x")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    storage.rename("f", "g")
