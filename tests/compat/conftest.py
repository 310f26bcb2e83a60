"""The official SDK, installed apart, and a cluster for its programs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.apart import OFFICIAL_SDK, NotInstalledError, installed
from bench.local_cluster import LocalCluster
from tests.compat.kit import Runs
from tests.led_cluster import led_cluster


@pytest.fixture(scope="session")
def official_sdk() -> Path:
    """Where the official package is. Skips without it, but never where CI runs."""
    try:
        return installed(OFFICIAL_SDK)
    except NotInstalledError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"the official SDK cannot be installed: {error}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes, eight partitions, all defaults."""
    with led_cluster(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def runs(official_sdk: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Runs:
    """Runs scenarios, once for all workers."""
    own = tmp_path_factory.getbasetemp()
    return Runs(official_sdk, own, own if worker_id == "master" else own.parent)
