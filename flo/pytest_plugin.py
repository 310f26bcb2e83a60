"""Fixtures for the tests of programs that use Flo; pytest finds them once Flo is installed.

Example:
    async def test_an_order_is_kept(flo_cluster, flo_namespace):
        async with flo_cluster.client(flo_namespace) as client:
            await client.kv.put("order:7", b"paid")
"""

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.testing import EmbeddedCluster


@pytest.fixture(scope="session")
def flo_cluster() -> "Iterator[EmbeddedCluster]":
    """A real three-node cluster on this machine, for the whole test session.

    `.endpoints` is what a client connects to; `.client(namespace)` makes one, to be used with
    `async with`; `.stop_node(2)` and `.start_node(2)` take a node away and bring it back. With
    pytest-xdist each worker has its own.
    """
    # Only here: a plugin is imported by every run of pytest, also of projects without Flo tests.
    from cluster.testing import EmbeddedCluster

    with EmbeddedCluster() as cluster:
        yield cluster


@pytest.fixture
def flo_namespace() -> str:
    """A namespace that no other test uses, so that tests do not see each other's keys."""
    return f"test-{uuid4().hex}"
