"""Clusters of real node processes, in temporary directories and on free ports."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster_view import wait_until_led
from bench.local_cluster import LocalCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes, eight partitions, all defaults."""
    with LocalCluster(nodes=3, partitions=8, parent_dir=tmp_path, keep=True) as running:
        asyncio.run(wait_until_led(running))
        yield running
