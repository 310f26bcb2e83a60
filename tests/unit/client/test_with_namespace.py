"""Views of a client: the same connections, another default namespace."""

import pytest

from flo import FloClient, NamespaceTooLargeError, NotConnectedError
from flo.wire import messages as wire
from tests.unit.client.fake_node import FakeCluster


async def test_a_view_uses_the_connections_of_its_client() -> None:
    async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
        orders = client.with_namespace("orders")
        await client.kv.put("a", b"1")
        connections = [node.connections_total for node in cluster.nodes]
        await orders.kv.put("a", b"2")
        await orders.with_namespace("bills").kv.put("a", b"3")
        assert [node.connections_total for node in cluster.nodes] == connections
        puts = [each.body for node in cluster.nodes for each in node.of_type(wire.KvPut)]
        namespaces = {body.namespace for body in puts if isinstance(body, wire.KvPut)}
        assert namespaces == {b"default", b"orders", b"bills"}
        assert (client.namespace, orders.namespace) == ("default", "orders")


async def test_closing_a_view_closes_nothing() -> None:
    async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
        async with client.with_namespace("orders") as orders:
            assert await orders.connect() is orders
        await orders.close()
        assert client.is_connected
        assert orders.is_connected
        await orders.kv.put("a", b"1")


async def test_a_view_ends_with_its_client() -> None:
    async with FakeCluster() as cluster:
        client = FloClient(cluster.endpoints)
        orders = client.with_namespace("orders")
        with pytest.raises(NotConnectedError):
            await orders.connect()
        async with client:
            # Made before, it works as well as one made now.
            await orders.kv.put("a", b"1")
        assert not orders.is_connected
        for use in (orders.kv.get("a"), orders.connect(), orders.reconnect()):
            with pytest.raises(NotConnectedError, match="a view of"):
                await use
        assert not client.is_connected


async def test_a_view_has_a_namespace_that_a_node_would_take() -> None:
    with pytest.raises(NamespaceTooLargeError):
        FloClient("localhost:9000").with_namespace("n" * 64)
