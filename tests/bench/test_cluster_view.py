"""Benchmarks begin when leadership has found its place."""

from pathlib import Path

from bench.cluster_view import leaders_of, replicas_of, wait_until_settled
from bench.measured_cluster import MeasuredCluster


async def test_settled_is_when_preferred_replicas_lead_also_those_of_other_nodes(
    tmp_path: Path,
) -> None:
    with MeasuredCluster(4, 4, tmp_path) as cluster:
        await wait_until_settled(cluster)
        leaders = await leaders_of(cluster)
        seen = [row for port in cluster.client_ports.values() for row in replicas_of(port)]
        assert {row["partition"]: row["replicas"][0] for row in seen} == leaders
        # A node knows its own partitions alone.
        assert len(seen) == 3 * len(leaders)
