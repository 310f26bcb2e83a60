"""What a partition counts for the status document."""

from flo.wire.messages import KvGet, KvPut
from tests.unit.node.small_cluster import SmallCluster


def test_commands_and_reads_are_counted_where_they_are_carried_out() -> None:
    cluster = SmallCluster(owners=(2,))
    partition = cluster.nodes[2].partitions[0]
    # The first write opens a session, which is a command too.
    cluster.run(KvPut(b"default", b"key", b"0"), node=1)
    before = partition.commands_applied
    for _ in range(3):
        cluster.run(KvPut(b"default", b"key", b"1"), node=1)
    for _ in range(2):
        cluster.run(KvGet(b"default", b"key"), node=1)
    assert (partition.commands_applied - before, partition.reads_served) == (3, 2)
