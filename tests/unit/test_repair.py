"""A data directory that takes the place of a lost one, and whom the others believe."""

import os
from pathlib import Path

import pytest

from cluster.addresses import parse_members
from cluster.founding import DataDirectory, FoundingParameters, IncarnationMismatch
from cluster.peers.admission import admit, own_identity
from cluster.peers.identity import RefusalCode
from cluster.sealed_files import DataDirectoryError

THREE = FoundingParameters(parse_members("1=a:1,2=b:1,3=c:1"), partition_count=4)
FOUR = FoundingParameters(
    parse_members("1=a:1,2=b:1,3=c:1,4=d:1"), replication=2, partition_count=4
)


def opened(
    path: Path,
    node_id: int = 1,
    *,
    repair_ms: int | None = None,
    given: FoundingParameters = THREE,
) -> DataDirectory:
    return DataDirectory(path, node_id, given, repair_ms=repair_ms)


def test_a_new_node_has_nothing_to_repair(tmp_path: Path) -> None:
    with_data = opened(tmp_path)
    assert (with_data.generation, with_data.repairing) == (0, frozenset())
    assert not (tmp_path / "repair.json").exists()
    with_data.close()


def test_repair_is_noted_for_this_nodes_partitions_until_each_is_finished(tmp_path: Path) -> None:
    directory = opened(tmp_path, repair_ms=1_700, given=FOUR)
    own = {n for n, replicas in enumerate(directory.founding.replicas) if 1 in replicas}
    assert 0 < len(own) < 4, "else this shows nothing"
    assert directory.repairing == own
    first = min(own)
    directory.finish_repair(first)
    directory.close()
    again = opened(tmp_path, given=FOUR)
    assert again.repairing == own - {first}
    assert again.generation == 1_700
    for partition in own - {first}:
        again.finish_repair(partition)
    again.close()
    whole = opened(tmp_path, given=FOUR)
    assert whole.repairing == frozenset()
    assert whole.generation == 1_700, "it stays the one that took the place of the lost one"
    whole.close()


def test_repair_may_be_asked_for_again_while_it_lasts_but_not_on_data(tmp_path: Path) -> None:
    directory = opened(tmp_path, repair_ms=1_700)
    incarnation = directory.incarnation
    directory.close()
    again = opened(tmp_path, repair_ms=9_900)
    assert (again.incarnation, again.generation) == (incarnation, 1_700)
    for partition in again.repairing:
        again.finish_repair(partition)
    again.close()
    with pytest.raises(DataDirectoryError, match="has data: --repair is for a node whose data is"):
        opened(tmp_path, repair_ms=9_999)
    opened(tmp_path).close()


def test_repair_on_the_data_of_a_node_that_lost_nothing_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataDirectoryError, match="Start it without --repair, or move the"):
        opened(tmp_path, repair_ms=1_700)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_partitions_that_nobody_else_has_cannot_be_repaired(tmp_path: Path) -> None:
    alone = FoundingParameters(parse_members("1=a:1"), partition_count=2)
    with pytest.raises(DataDirectoryError, match="partitions 0, 1, so their data is lost"):
        opened(tmp_path, repair_ms=1_700, given=alone)
    assert not (tmp_path / "founding.json").exists()
    opened(tmp_path, given=alone).close()


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_a_node_that_cannot_tell_what_it_may_do_does_not_start(tmp_path: Path, damage: str) -> None:
    opened(tmp_path, repair_ms=1_700).close()
    path = tmp_path / "repair.json"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(DataDirectoryError, match=r"repair\.json"):
        opened(tmp_path)


def test_every_crash_while_it_is_created_leaves_nothing_or_all_of_it(tmp_path: Path) -> None:
    """Also when the operator then starts it the other way: nobody has met it yet."""

    class Crash(BaseException):
        pass

    for syncs in range(20):
        left = syncs

        def fsync(descriptor: int) -> None:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            os.fsync(descriptor)

        path = tmp_path / str(syncs)
        path.mkdir()
        try:
            DataDirectory(path, 1, THREE, repair_ms=1_700, fsync=fsync).close()
        except Crash:
            created = (path / "founding.json").exists()
            directory = opened(path, repair_ms=1_701 if syncs % 2 else None)
            if created:
                assert directory.generation == 1_700
            assert bool(directory.repairing) == bool(directory.generation)
            directory.close()
        else:
            break
    else:
        raise AssertionError("it was never created")


def test_a_finish_that_could_not_be_noted_has_not_happened(tmp_path: Path) -> None:
    disk_is_full = False

    def fsync(descriptor: int) -> None:
        if disk_is_full:
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)

    directory = DataDirectory(tmp_path, 1, THREE, repair_ms=1_700, fsync=fsync)
    disk_is_full = True
    with pytest.raises(DataDirectoryError, match="No space left on device"):
        directory.finish_repair(0)
    assert 0 in directory.repairing
    directory.close()


# Whom the others believe


def refused(judge: DataDirectory, peer: DataDirectory) -> int:
    """Why `judge` turns `peer` away; 0 when it does not."""
    answer = admit(judge, own_identity(peer, "h:1"))
    return answer.code if answer is not None else 0


def test_a_repaired_node_takes_the_place_of_the_lost_one(tmp_path: Path) -> None:
    judge = opened(tmp_path / "1", 1)
    old = opened(tmp_path / "old", 2)
    assert refused(judge, old) == 0
    judge.record_met(2)
    repaired = opened(tmp_path / "new", 2, repair_ms=1_700)
    assert refused(judge, repaired) == 0
    assert refused(judge, old) == RefusalCode.INCARNATION, "the old directory has come back"
    assert refused(judge, repaired) == 0
    for directory in (judge, old, repaired):
        directory.close()


def test_a_vote_once_earned_is_not_lost_when_a_peer_is_repaired(tmp_path: Path) -> None:
    """The repaired one may never come up: two healthy nodes of three must go on after restarts."""
    judge = opened(tmp_path / "1", 1)
    for node in (2, 3):
        judge.remember_peer(node, f"{node:032x}")
        judge.record_met(node)
    judge.remember_peer(2, "ab" * 16, 1_700)
    judge.close()
    judge = opened(tmp_path / "1", 1)
    assert judge.may_vote((1, 2, 3))
    judge.close()


def test_the_last_of_several_repairs_counts(tmp_path: Path) -> None:
    judge = opened(tmp_path / "1", 1)
    first = opened(tmp_path / "a", 2, repair_ms=1_700)
    second = opened(tmp_path / "b", 2, repair_ms=1_800)
    assert refused(judge, first) == 0
    assert refused(judge, second) == 0
    assert refused(judge, first) == RefusalCode.INCARNATION
    judge.close()
    judge = opened(tmp_path / "1", 1)
    assert refused(judge, first) == RefusalCode.INCARNATION, "it is remembered"
    with pytest.raises(IncarnationMismatch, match="flo node --repair"):
        judge.remember_peer(2, first.incarnation, first.generation)
    for directory in (judge, first, second):
        directory.close()


def test_a_judge_that_never_met_the_lost_one_does_not_take_it_later(tmp_path: Path) -> None:
    judge = opened(tmp_path / "1", 1)
    old = opened(tmp_path / "old", 2)
    repaired = opened(tmp_path / "new", 2, repair_ms=1_700)
    assert refused(judge, repaired) == 0
    assert refused(judge, old) == RefusalCode.INCARNATION
    for directory in (judge, old, repaired):
        directory.close()
