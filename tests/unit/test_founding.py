"""The founding configuration and the data directory: what survives, and what is refused."""

import errno
import json
import os
from pathlib import Path

import pytest

from cluster.addresses import AddressError, Member, parse_address, parse_members
from cluster.founding import (
    DataDirectory,
    FoundingMismatch,
    FoundingParameters,
    IncarnationMismatch,
    found_cluster,
)
from cluster.placement import PlacementError
from cluster.sealed_files import DataDirectoryError

THREE = parse_members("1=a:1@east,2=b:1@west,10=c:1")
OTHER_INCARNATION = "ab" * 16


def parameters(members: tuple[Member, ...] = THREE) -> FoundingParameters:
    return FoundingParameters(members)


def opened(path: Path, node_id: int = 1) -> DataDirectory:
    return DataDirectory(path, node_id, parameters())


def reopened(directory: DataDirectory) -> DataDirectory:
    directory.close()
    return DataDirectory(directory.path, directory.node_id, parameters())


# Addresses and members


@pytest.mark.parametrize("text", ["localhost:9000", "10.0.0.1:0", "[::1]:9500", "a-b.c:65535"])
def test_an_address_prints_as_it_was_written(text: str) -> None:
    assert str(parse_address(text)) == text


def test_ipv6_is_stored_without_brackets() -> None:
    assert parse_address("[fe80::1%eth0]:7") == ("fe80::1%eth0", 7)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "must be a number"),
        ("localhost:http", "must be a number"),
        ("localhost:+80", "must be a number"),
        ("localhost:65536", "must be 0..65535"),
        (":9000", "has no host"),
        ("::1:9000", "write an IPv6 host in brackets"),
        ("a b:1", "characters that no host name has"),
        ("a..b:1", "no valid host name"),
        ("a" * 64 + ":1", "no valid host name"),
    ],
)
def test_a_bad_address_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint):
        parse_address(text)


def test_members_come_in_order_of_node_id() -> None:
    first, second = parse_members("2=h:2, 1=[::1]:1@z-1")
    assert first == (1, ("::1", 1), "z-1")
    assert second == (2, ("h", 2), "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("h:1", "has no node id"),
        ("x=h:1", "must be a whole number"),
        ("0=h:1", "must be 1..65535"),
        ("65536=h:1", "must be 1..65535"),
        ("1=h", "has no port"),
        ("1=h:0", "has port 0"),
        ("1=h:1,1=i:1", "node id 1 appears twice"),
        ("1=h:1,2=h:1", "nodes 1 and 2 have the same address h:1"),
        ("1=h:1@", "has an empty zone"),
        ("1=h:1@a@b", "a zone is one word"),
        ("1=h:1,", "has no node id"),
    ],
)
def test_a_bad_member_list_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint):
        parse_members(text)


# Founding


def test_golden_founding() -> None:
    founding = found_cluster(parameters())
    assert founding.cluster_id == "903a247e1f0981856c2fac40ceb33c39"
    assert founding.zones == {1: "east", 2: "west", 10: ""}
    assert (founding.replication, founding.partition_count) == (3, 8)
    assert founding.replicas[:2] == ((1, 2, 10), (2, 1, 10))


def test_addresses_do_not_change_the_cluster_id() -> None:
    moved = parse_members("1=x:7@east,2=y:7@west,10=z:7")
    assert found_cluster(parameters(moved)) == found_cluster(parameters())


def test_whatever_is_founded_differently_has_another_cluster_id() -> None:
    members = parse_members
    variants = [
        parameters(),
        parameters(members("1=a:1@east,2=b:1@west")),
        parameters(members("1=a:1@east,2=b:1@east,10=c:1")),
        FoundingParameters(THREE, replication=1),
        FoundingParameters(THREE, partition_count=9),
        FoundingParameters(THREE, cluster_name="other"),
        FoundingParameters(THREE, secret_fingerprint="0f"),
    ]
    assert len({found_cluster(variant).cluster_id for variant in variants}) == len(variants)


# Data directory


def test_a_directory_is_created_and_found_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "new" / "data")
    incarnation, founding = first.incarnation, first.founding
    again = reopened(first)
    assert again.incarnation == incarnation
    assert again.founding == founding == found_cluster(parameters())
    again.close()


def test_two_directories_have_two_incarnations(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "1"), opened(tmp_path / "2")
    assert len(bytes.fromhex(one.incarnation)) == 16
    assert one.incarnation != other.incarnation
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            FoundingParameters(parse_members("1=a:1@east,2=b:1@west")),
            "node ids differs: .* founded with 1, 2, 10, this start gives 1, 2",
        ),
        (
            FoundingParameters(parse_members("1=a:1@east,2=b:1@east,10=c:1")),
            r"zones differs: .* 1@east, 2@west, 10@\(none\), this start gives 1@east, 2@east",
        ),
        (FoundingParameters(THREE, replication=2), "replication differs: .* 3, this start gives 2"),
        (FoundingParameters(THREE, partition_count=9), "partition count differs: .* 8, .* 9"),
        (FoundingParameters(THREE, cluster_name="x"), "cluster name differs: .* flo, .* x"),
    ],
)
def test_a_start_with_other_parameters_is_refused(
    tmp_path: Path, given: FoundingParameters, complaint: str
) -> None:
    opened(tmp_path).close()
    before = (tmp_path / "founding.json").read_bytes()
    with pytest.raises(FoundingMismatch, match=complaint) as refused:
        DataDirectory(tmp_path, 1, given)
    assert "start with the stored value" in str(refused.value)
    assert (tmp_path / "founding.json").read_bytes() == before


def test_a_start_may_have_other_addresses_and_another_secret(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.close()
    moved = FoundingParameters(
        parse_members("1=x:7@east,2=y:7@west,10=z:7"), secret_fingerprint="0f"
    )
    again = DataDirectory(tmp_path, 1, moved)
    assert again.founding == first.founding
    again.close()


def test_values_not_given_are_those_stored(tmp_path: Path) -> None:
    given = FoundingParameters(THREE, replication=2, partition_count=5)
    DataDirectory(tmp_path, 1, given).close()
    again = opened(tmp_path)
    assert (again.founding.replication, again.founding.partition_count) == (2, 5)
    again.close()


def test_data_of_another_node_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, 1).close()
    with pytest.raises(FoundingMismatch, match="belongs to node 1, this start is node 2"):
        opened(tmp_path, 2)


def test_a_node_outside_the_member_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundingMismatch, match=r"node id 4 is not one of .* 1, 2, 10"):
        opened(tmp_path, 4)
    assert not list(tmp_path.iterdir())


def test_impossible_parameters_create_nothing(tmp_path: Path) -> None:
    with pytest.raises(PlacementError):
        DataDirectory(tmp_path, 1, FoundingParameters(THREE, replication=4))
    assert not (tmp_path / "founding.json").exists()
    opened(tmp_path).close()


def test_two_processes_cannot_share_a_directory(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(DataDirectoryError, match="in use by another process"):
        opened(tmp_path)
    reopened(first).close()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_path_that_is_no_directory_is_explained(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataDirectoryError, match=r"cannot create .*Not a directory"):
        opened(file / below)


def test_a_directory_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    with pytest.raises(DataDirectoryError, match=r"has no founding\.json but holds wal"):
        opened(tmp_path)


def test_a_first_start_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    for name in ("peers.json", "peers.json.tmp", "founding.json.tmp", "lock"):
        (tmp_path / name).write_text("{")
    reopened(opened(tmp_path)).close()


@pytest.mark.parametrize("name", ["founding.json", "peers.json"])
def test_every_flipped_byte_is_noticed(tmp_path: Path, name: str) -> None:
    directory = opened(tmp_path)
    directory.remember_peer(2, OTHER_INCARNATION)
    directory.close()
    whole = (tmp_path / name).read_bytes()
    stored = json.loads(whole)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x11
        (tmp_path / name).write_bytes(damaged)
        try:
            opened(tmp_path).close()
        except DataDirectoryError:
            continue
        assert json.loads(damaged) == stored, position  # white space only


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 5}', '{"format":5,"content":{}}'])
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    opened(tmp_path).close()
    (tmp_path / "peers.json").write_text(text)
    with pytest.raises(DataDirectoryError, match="is damaged"):
        opened(tmp_path)
    assert (tmp_path / "peers.json").read_text() == text


def test_a_lost_peers_file_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "peers.json").unlink()
    with pytest.raises(DataDirectoryError, match=r"cannot read .*peers\.json: No such file"):
        opened(tmp_path)


@pytest.mark.parametrize("version", [1, 4, 6])
def test_a_file_of_another_version_is_refused(tmp_path: Path, version: int) -> None:
    opened(tmp_path).close()
    (tmp_path / "founding.json").write_text(f'{{"format": {version}}}')
    complaint = f"has format {version}, this version of Flo reads 5: use the version that wrote it"
    with pytest.raises(DataDirectoryError, match=complaint):
        opened(tmp_path)


# Peers


def test_the_first_incarnation_of_a_peer_is_kept(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.remember_peer(2, OTHER_INCARNATION)
    directory = reopened(directory)
    directory.remember_peer(2, OTHER_INCARNATION)
    with pytest.raises(IncarnationMismatch, match="node 2 came back with an empty or different"):
        directory.remember_peer(2, "cd" * 16)
    directory.remember_peer(2, OTHER_INCARNATION)
    directory.close()


def test_a_record_that_could_not_be_stored_is_not_relied_upon(tmp_path: Path) -> None:
    disk_is_full = False

    def fsync(fd: int) -> None:
        if disk_is_full:
            raise OSError(28, "No space left on device")
        os.fsync(fd)

    directory = DataDirectory(tmp_path, 1, parameters(), fsync=fsync)
    disk_is_full = True
    with pytest.raises(DataDirectoryError, match="No space left on device"):
        directory.remember_peer(2, OTHER_INCARNATION)
    disk_is_full = False
    directory.remember_peer(2, "cd" * 16)
    directory.close()


def test_files_are_synced_before_and_directories_after_the_rename(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    root = tmp_path / "data"

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        seen.append((path.name, (root / "founding.json").exists()))

    DataDirectory(root, 1, parameters(), fsync=fsync).close()
    assert seen == [
        (tmp_path.name, False),  # the entry of the new directory
        ("peers.json.tmp", False),
        ("data", False),
        ("founding.json.tmp", False),
        ("data", True),
    ]


# The right to vote


@pytest.mark.parametrize(
    ("replicas", "needed"),
    [((1,), 0), ((1, 2), 1), ((1, 2, 3), 2), ((1, 2, 3, 4), 2), ((1, 2, 3, 4, 5), 3)],
)
def test_a_node_votes_once_enough_replicas_have_accepted_it(
    tmp_path: Path, replicas: tuple[int, ...], needed: int
) -> None:
    five = FoundingParameters(parse_members("1=a:1,2=a:2,3=a:3,4=a:4,5=a:5"))
    directory = DataDirectory(tmp_path, 1, five)
    for node_id in replicas[1 : needed + 1]:
        directory.remember_peer(node_id, OTHER_INCARNATION)
        assert not directory.may_vote(replicas)
        directory.record_met(node_id)
    assert directory.may_vote(replicas)
    directory.close()
    again = DataDirectory(tmp_path, 1, five)
    assert again.may_vote(replicas)
    again.close()


def test_acceptance_by_nodes_outside_the_partition_counts_for_nothing(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.remember_peer(10, OTHER_INCARNATION)
    directory.record_met(10)
    assert not directory.may_vote((1, 2))
    directory.close()


def test_what_is_found_is_believed_only_once_it_is_durable(tmp_path: Path) -> None:
    """A process may have died after a rename and before the sync of the directory."""
    opened(tmp_path).close()

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(DataDirectoryError, match="cannot sync"):
        DataDirectory(tmp_path, 1, parameters(), fsync=fsync)
