"""The bench that compares clients runs, with few operations."""

from pathlib import Path

from bench.apart import OFFICIAL_SDK
from bench.client_cost import run_client_cost
from bench.local_cluster import LocalCluster


def test_every_client_is_measured(official_sdk: Path, cluster: LocalCluster) -> None:
    rows = run_client_cost(cluster, operations=640, repetitions=1)
    measured = {(row["client"], row["operation"], row["concurrency"]) for row in rows}
    for client in ("flo", "flo.sync (threads)", OFFICIAL_SDK):
        for operation in ("put", "get"):
            assert {(client, operation, 1), (client, operation, 64)} <= measured
    assert all(row["cpu_us_per_op"] for row in rows)
