"""Clusters of real node processes, in temporary directories and on free ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.local_cluster import LocalCluster
from tests.led_cluster import led_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes, eight partitions, all defaults."""
    with led_cluster(tmp_path) as running:
        yield running
