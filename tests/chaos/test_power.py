"""What a power cut takes, and what it must leave, with small programs instead of nodes."""

import subprocess
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import Execute
from tests.chaos.power import LosesAll, PowerDisk


def names(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "data").iterdir()}


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_stays_and_of_the_rest_any_sector(
    seed: int, tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    execute("write('a', 0, b'o' * 8192); sync_directory()")
    execute("write('a', 1024, b'n' * 2048, sync=False); write('a', 8192, b'n' * 1000, sync=False)")
    before = (tmp_path / "data" / "a").read_bytes()
    assert before == b"o" * 1024 + b"n" * 2048 + b"o" * 5120 + b"n" * 1000
    loss = disk.cut(Random(seed))
    assert loss.unsynced == 2
    after = (tmp_path / "data" / "a").read_bytes()
    assert len(after) in (8192, 9192)
    assert after[:1024] + after[3072:8192] == b"o" * 6144
    for start in range(1024, 3072, 512):
        assert after[start : start + 512] in (b"o" * 512, b"n" * 512)
    for start in range(8192, len(after), 512):
        assert set(after[start : start + 512]) in ({0}, {ord("n")})


def test_every_kind_of_loss_comes_with_some_seed(
    tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    seen: set[tuple[bool, bool]] = set()
    for seed in range(40):
        execute(
            "write('a', 0, b'o' * 4096); sync_directory()\nwrite('a', 0, b'n' * 4096, sync=False)"
        )
        disk.cut(Random(seed))
        after = (tmp_path / "data" / "a").read_bytes()
        seen.add((b"o" in after, b"n" in after))
    assert {(True, False), (True, True)} <= seen


def test_names_are_durable_with_their_directory(
    tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    execute("for name in 'abc': write(name, 0, name.encode())\nsync_directory()")
    execute(
        "write('new', 0, b'new')\n"
        "os.rename('a', 'moved')\n"
        "os.rename('b', 'c')\n"
        "os.remove('moved')\n"
        "os.mkdir('folder')"
    )
    assert names(tmp_path) == {"new", "c", "folder"}
    disk.cut(LosesAll(0))
    assert names(tmp_path) == {"a", "b", "c"}
    for name in "abc":
        assert (tmp_path / "data" / name).read_text() == name
    execute("os.remove('a'); sync_directory(); os.remove('b')")
    disk.cut(LosesAll(0))
    assert names(tmp_path) == {"b", "c"}


def test_a_truncated_file_gets_its_content_back(
    tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    execute("write('a', 0, b'o' * 5000); sync_directory()")
    execute("open('a', 'wb').write(b'new')")
    assert (tmp_path / "data" / "a").read_bytes() == b"new"
    disk.cut(LosesAll(0))
    assert (tmp_path / "data" / "a").read_bytes() == b"o" * 5000


def test_a_disk_that_lies_loses_what_was_synced(
    tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    disk.lie()
    execute("write('a', 0, b'data'); sync_directory()")
    disk.cut(LosesAll(0))
    assert names(tmp_path) == set()


def test_a_kill_loses_nothing_and_forgets_nothing(
    tmp_path: Path, disk: PowerDisk, execute: Execute
) -> None:
    execute("write('a', 0, b'old'); sync_directory(); write('a', 0, b'new', sync=False)")
    with (tmp_path / "data.power" / "journal").open("ab") as journal:
        journal.write(b"W\0\0\0a record of which the rest is missing")
    execute("assert open('a').read() == 'new'; write('b', 0, b'more')")
    disk.cut(LosesAll(0))
    assert (tmp_path / "data" / "a").read_bytes() == b"old"
    assert names(tmp_path) == {"a"}


def test_a_cut_is_another_boot(execute: Execute, disk: PowerDisk) -> None:
    read = "open('/proc/sys/kernel/random/boot_id').read().strip()"
    execute(f"assert {read} == 'first boot'")
    disk.cut(Random(0))
    execute(f"assert len({read}) == 36")


def test_what_is_not_modelled_ends_the_program(execute: Execute) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        execute("write('a', 0, b'x'); os.link('a', 'b')")
