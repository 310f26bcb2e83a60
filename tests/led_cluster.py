"""Three node processes with all defaults, for tests."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster_view import wait_until_led
from bench.local_cluster import LocalCluster


@contextmanager
def led_cluster(parent: Path) -> Generator[LocalCluster]:
    """Eight partitions, all defaults, every partition led. `parent` is somebody else's to remove.

    Unlike `EmbeddedCluster` it does not share the process with the tests, so that those which run
    between two of its users may patch the product's classes: its nodes go on storing meanwhile.
    """
    with LocalCluster(nodes=3, partitions=8, parent_dir=parent, keep=True) as running:
        asyncio.run(wait_until_led(running))
        yield running
