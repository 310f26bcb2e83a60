"""What is particular to LMDB: when its content is believed, a full disk, damaged files."""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

import lmdb
import pytest

from cluster.replica import Replica
from cluster.state.errors import CorruptState, StoreFull
from cluster.state.machine import StateMachine
from cluster.state.store import Table
from cluster.storage.lmdb_store import LmdbReadTransaction, LmdbStore, read_boot_id
from tests.unit.state.helpers import START_MS, Bench, commands_entry, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOOT = "11111111-boot"
NEXT_BOOT = "22222222-boot"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partition" / "state"


def write(store: LmdbStore, value: bytes = b"value") -> None:
    with store.write() as txn:
        txn.put(Table.KV, b"key", value)


def value_in(store: LmdbStore) -> bytes | None:
    with store.read() as txn:
        return txn.get(Table.KV, b"key")


def written(path: Path, boot_id: str | None, *, stop: Callable[[LmdbStore], None]) -> None:
    """A process writes, then ends in some way."""
    store = LmdbStore(path, boot_id=boot_id)
    write(store)
    stop(store)


def crash(store: LmdbStore) -> None:
    """The process is gone: LMDB is closed for it, and nothing else of a clean stop happens."""
    store._env.close()  # pyright: ignore[reportPrivateUsage]  # there is no public way to die


def value_after(path: Path, boot_id: str | None) -> bytes | None:
    store = LmdbStore(path, boot_id=boot_id)
    found = value_in(store)
    crash(store)
    return found


class TestTrust:
    def test_a_clean_stop_is_believed_in_any_boot(self, path: Path) -> None:
        for boot_id in (BOOT, NEXT_BOOT, None):
            written(path, BOOT, stop=LmdbStore.close)
            assert value_after(path, boot_id) == b"value"

    def test_a_process_crash_is_believed_in_the_same_boot(self, path: Path) -> None:
        written(path, BOOT, stop=crash)
        assert value_after(path, BOOT) == b"value"
        assert value_after(path, BOOT) == b"value"

    def test_a_crash_is_not_believed_in_another_boot(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        written(path, BOOT, stop=crash)
        with caplog.at_level(logging.WARNING):
            assert value_after(path, NEXT_BOOT) is None
        assert len(caplog.records) == 1
        assert str(path) in caplog.text

    @pytest.mark.parametrize(("before", "after"), [(BOOT, None), (None, BOOT), (None, None)])
    def test_a_crash_is_not_believed_when_a_boot_id_is_unreadable(
        self, path: Path, before: str | None, after: str | None
    ) -> None:
        written(path, before, stop=crash)
        assert value_after(path, after) is None

    def test_the_first_write_ends_the_belief_in_a_clean_stop(self, path: Path) -> None:
        written(path, BOOT, stop=LmdbStore.close)
        written(path, BOOT, stop=crash)
        assert value_after(path, NEXT_BOOT) is None

    def test_a_crash_after_reading_only_is_believed_in_any_boot(self, path: Path) -> None:
        written(path, BOOT, stop=LmdbStore.close)
        assert value_after(path, NEXT_BOOT) == b"value"
        assert value_after(path, BOOT) == b"value"

    def test_emptied_content_does_not_come_back(self, path: Path) -> None:
        written(path, BOOT, stop=crash)
        assert value_after(path, NEXT_BOOT) is None
        assert value_after(path, BOOT) is None

    def test_a_crash_while_emptying_is_emptied_again(self, path: Path) -> None:
        written(path, BOOT, stop=crash)
        (path / "lock.mdb").unlink()
        assert value_after(path, NEXT_BOOT) is None

    def test_an_emptied_store_serves_again(self, path: Path) -> None:
        written(path, BOOT, stop=crash)
        written(path, NEXT_BOOT, stop=crash)
        assert value_after(path, NEXT_BOOT) == b"value"

    def test_this_system_tells_its_boot(self) -> None:
        assert read_boot_id() == read_boot_id()


class TestFullDisk:
    MAP_BYTES = 512 * 1024

    def test_a_full_map_drops_the_transaction_and_the_store_goes_on(self, path: Path) -> None:
        store = LmdbStore(path, map_bytes=self.MAP_BYTES, boot_id=BOOT)
        write(store)

        def overfill() -> None:
            with store.write() as txn:
                txn.put(Table.KV, b"key", b"other")
                for number in range(self.MAP_BYTES // 4096):
                    txn.put(Table.KV, b"%d" % number, bytes(4096))

        for _ in range(3):
            with pytest.raises(StoreFull, match="Free space on this disk"):
                overfill()
            assert value_in(store) == b"value"
        write(store, b"new")
        assert value_in(store) == b"new"
        store.close()
        assert value_after(path, NEXT_BOOT) == b"new"

    def test_a_replica_repeats_what_did_not_fit(self, path: Path) -> None:
        store = LmdbStore(path, map_bytes=self.MAP_BYTES, boot_id=BOOT)
        replica = Replica(store, StateMachine())
        small = commands_entry(1, START_MS, put(b"a", b"1"))
        large = commands_entry(2, START_MS, put(b"b", bytes(self.MAP_BYTES)))
        replica.apply([small], 1)
        replica.store()
        replica.apply([large], 2)
        digest = replica.digest()
        for _ in range(2):
            with pytest.raises(StoreFull):
                replica.store()
            assert (replica.applied_index, replica.stored_index) == (2, 1)
            assert replica.digest() == digest
        replica.close()
        store.close()
        roomier = LmdbStore(path, map_bytes=8 * self.MAP_BYTES, boot_id=BOOT)
        replica = Replica(roomier, StateMachine())
        assert replica.apply([large], 2) == [[(0, 2)]]
        replica.store()
        assert (replica.stored_index, replica.digest()) == (2, digest)
        replica.close()
        roomier.close()

    def test_a_disk_that_takes_no_more_bytes(self, path: Path) -> None:
        """The operating system refuses the writes of a commit: first one in part, then whole."""
        store = LmdbStore(path, boot_id=BOOT)
        write(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            for _ in range(3):
                with pytest.raises(StoreFull):
                    write(store, bytes(300_000))
                assert value_in(store) == b"value"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        write(store, bytes(300_000))
        assert value_in(store) == bytes(300_000)
        store.close()


class TestReaders:
    def test_space_is_used_again_between_reads(self, path: Path) -> None:
        """A reader that stayed would make every commit take new pages until the map is full."""
        store = LmdbStore(path, map_bytes=TestFullDisk.MAP_BYTES, boot_id=BOOT)
        for number in range(500):
            write(store, b"%d" % number * 400)
            assert value_in(store) == b"%d" % number * 400
        store.close()

    def test_a_replica_lets_go_of_its_own_to_store(self, path: Path) -> None:
        """It reads from the store all the time."""
        store = LmdbStore(path, map_bytes=TestFullDisk.MAP_BYTES, boot_id=BOOT)
        bench = Bench(store)
        for number in range(500):
            bench.run(put(b"a", b"%d" % number * 400))
            bench.replica.store()
            assert bench.value(b"a") == b"%d" % number * 400
        bench.replica.close()
        store.close()


class TestDamage:
    def test_files_that_are_not_lmdb(self, path: Path) -> None:
        written(path, BOOT, stop=LmdbStore.close)
        (path / "data.mdb").write_bytes(b"no database" * 4096)
        with pytest.raises(CorruptState, match=str(path)):
            LmdbStore(path, boot_id=BOOT)

    def test_a_flipped_byte_in_the_file(self, path: Path) -> None:
        bench = Bench(LmdbStore(path, boot_id=BOOT))
        bench.run(put(b"a", b"a value to be found in the file"))
        bench.replica.close()
        bench.store.close()
        content = (path / "data.mdb").read_bytes()
        assert content.count(b"to be found") >= 1
        (path / "data.mdb").write_bytes(content.replace(b"to be found", b"to be fount"))
        store = LmdbStore(path, boot_id=BOOT)
        bench = Bench(store)
        with pytest.raises(CorruptState, match="KV"):
            bench.get(b"a")
        bench.replica.abandon()
        store.close()

    def test_that_lmdb_finds_is_said_by_whoever_reads(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def damaged(_txn: LmdbReadTransaction, _table: Table, _key: bytes) -> bytes | None:
            raise lmdb.CorruptedError("for this test")

        store = LmdbStore(path, boot_id=BOOT)
        bench = Bench(store)
        bench.run(put(b"a", b"1"))
        bench.restart()
        monkeypatch.setattr(LmdbReadTransaction, "get", damaged)
        with pytest.raises(CorruptState, match="for this test"):
            bench.get(b"a")
        with pytest.raises(CorruptState, match="for this test"):
            bench.run(put(b"a", b"2"))
        bench.replica.abandon()
        store.close()
