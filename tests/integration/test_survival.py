"""Nodes are killed under load: nothing acknowledged is lost, nothing is done twice."""

from bench.cluster_view import leaders_of
from bench.local_cluster import LocalCluster
from flo import FloClient, FloError
from tests.integration.kit import Traffic, check_account, check_replicas_agree


async def test_keys_written_through_one_node_are_read_through_the_others_at_once(
    cluster: LocalCluster,
) -> None:
    first, second, third = (f"127.0.0.1:{port}" for port in cluster.client_ports.values())
    async with (
        FloClient(first) as writer,
        FloClient(second) as reader,
        FloClient(third) as other,
    ):
        for number in range(50):
            key, value = f"key-{number}", f"value-{number}".encode()
            put = await writer.kv.put(key, value)
            for client in (reader, other):
                found = await client.kv.get(key)
                assert found is not None
                assert (found.value, found.version) == (value, put.version)


async def test_each_node_killed_in_turn_under_load(cluster: LocalCluster) -> None:
    leaders_killed = 0
    async with Traffic(cluster.endpoints) as traffic:
        await traffic.more(200)
        for node in cluster.client_ports:
            leaders_killed += node in (await leaders_of(cluster)).values()
            cluster.kill(node)
            await traffic.more(200)
            cluster.start(node)
            await traffic.more(100)
    assert leaders_killed
    assert traffic.account.increments > 200
    await check_account(cluster, traffic.account)
    await check_replicas_agree(cluster)


async def test_all_three_nodes_killed_at_once_under_load(cluster: LocalCluster) -> None:
    async with Traffic(cluster.endpoints) as traffic:
        for _ in range(2):
            await traffic.more(200)
            for node in cluster.client_ports:
                cluster.processes[node].kill()
            for node in cluster.client_ports:
                cluster.kill(node)
            for node in cluster.client_ports:
                cluster.start(node)
            await traffic.more(200)
    await check_account(cluster, traffic.account)
    await check_replicas_agree(cluster)


async def test_a_node_that_missed_more_than_a_link_may_hold_catches_up(
    cluster: LocalCluster,
) -> None:
    """Eight groups send at once to a follower that is further behind than their windows."""
    value = bytes(512 << 10)
    cluster.kill(3)
    async with FloClient(cluster.endpoints, timeout_ms=30_000) as client:
        for number in range(160):
            await client.kv.put(f"large-{number}", value)
        cluster.start(3)
        await client.kv.put("last", b"one")
    await check_replicas_agree(cluster)
    for sender in (1, 2):
        assert "wait for it" not in (cluster.directory / f"node-{sender}.log").read_text()


async def test_two_nodes_of_three_are_enough_and_one_is_not(cluster: LocalCluster) -> None:
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        await client.kv.put("a", b"1")
        cluster.kill(1)
        await client.kv.put("a", b"2")
        cluster.kill(2)
        survivor = f"127.0.0.1:{cluster.client_ports[3]}"
        async with FloClient(survivor, timeout_ms=1_500) as alone:
            outcome = await _outcome_of_put(alone)
        assert outcome in ("not_applied", "unknown")
        cluster.start(1)
        found = await client.kv.get("a")
        assert found is not None
        assert found.value in (b"2", b"3" if outcome == "unknown" else b"2")


async def _outcome_of_put(client: FloClient) -> str:
    try:
        await client.kv.put("a", b"3")
    except FloError as error:
        return error.outcome
    return "applied"
