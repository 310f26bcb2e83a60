"""Connections, many callers at once, and both packages on one cluster."""

import asyncio

from flo import FloClient, FloError, KVIncrOptions, KVMGetOptions, PutOptions, ScanOptions

from .common import Cluster, Seen, failure, text_of

# --- connections ---


async def endpoints(cluster: Cluster) -> Seen:
    host, _, port = cluster.endpoints[0].rpartition(":")
    async with FloClient(f"flo://{host}:{port}", namespace=cluster.namespace) as client:
        await client.kv.put("k", b"v")
        by_scheme = await text_of(client, "k")
    seen: list[Seen] = [by_scheme]
    for wrong in ("nonsense", "flos://localhost:9000", "http://localhost:9000", "localhost:0"):
        try:
            FloClient(wrong)
        except FloError as error:
            seen.append(type(error).__name__)
    return seen


async def a_client_says_whether_it_is_connected(cluster: Cluster) -> Seen:
    client = cluster.client()
    before = await failure(client.kv.get("k"))
    states = [client.is_connected]
    connected = await client.connect()
    states += [client.is_connected, connected is client]
    await client.close()
    await client.close()
    states.append(client.is_connected)
    return [
        before,
        states,
        await failure(client.kv.get("k")),
        client.namespace == cluster.namespace,
    ]


async def a_node_that_is_not_there(_: Cluster) -> Seen:
    return await failure(FloClient("127.0.0.1:9", timeout_ms=2_000).connect())


async def every_node_answers_for_all_partitions(cluster: Cluster) -> Seen:
    """Written through each node, read through each other one at once."""
    clients = [cluster.client(node) for node in range(len(cluster.endpoints))]
    stale = 0
    try:
        for client in clients:
            await client.connect()
        for number in range(30):
            value = b"%d" % number
            await clients[number % 3].kv.put(f"k-{number}", value)
            for reader in clients:
                found = await reader.kv.get(f"k-{number}")
                stale += found is None or found.value != value
    finally:
        for client in clients:
            await client.close()
    return stale


# --- many at once ---


async def tasks_share_one_client(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        answers = await asyncio.gather(*(client.kv.incr("n") for _ in range(200)))
        return sorted(answer.value for answer in answers) == list(range(1, 201))


async def clients_share_one_counter(cluster: Cluster) -> Seen:
    async def count(node: int) -> list[int]:
        async with cluster.client(node % 3) as client:
            return [(await client.kv.incr("n")).value for _ in range(20)]

    counted = await asyncio.gather(*(count(node) for node in range(10)))
    return sorted(value for values in counted for value in values) == list(range(1, 201))


async def one_of_many_wins_each_version(cluster: Cluster) -> Seen:
    async def race(node: int) -> int:
        won = 0
        async with cluster.client(node % 3) as client:
            for _ in range(15):
                found = await client.kv.get("k")
                version = 0 if found is None else found.version
                number = 0 if found is None else int(found.value)
                options = PutOptions(cas_version=version)
                seen = await failure(client.kv.put("k", b"%d" % (number + 1), options))
                assert seen in ("no error", ["ConflictError", "CAS_MISMATCH", "NO"]), seen
                won += seen == "no error"
        return won

    won = sum(await asyncio.gather(*(race(node) for node in range(8))))
    async with cluster.client() as client:
        return {"each win counted once": await text_of(client, "k") == str(won), "won": won > 0}


# --- both packages on one cluster ---


async def write_for_the_other_package(cluster: Cluster) -> Seen:
    shared = "shared"
    async with cluster.client() as client:
        await client.kv.put("text", b"hello", PutOptions(namespace=shared))
        await client.kv.put("bytes", bytes(range(256)), PutOptions(namespace=shared))
        await client.kv.put("large", bytes(250_000), PutOptions(namespace=shared))
        await client.kv.put("gone", b"v", PutOptions(namespace=shared, ttl_ms=1))
        added = await client.kv.incr("counter", KVIncrOptions(namespace=shared, delta=7))
        return added.value


async def read_what_the_other_package_wrote(cluster: Cluster) -> Seen:
    shared = "shared"
    async with cluster.client(1) as client:
        entries = await client.kv.mget(["text", "bytes", "large"], KVMGetOptions(namespace=shared))
        added = await client.kv.incr("counter", KVIncrOptions(namespace=shared))
        stored = PutOptions(namespace=shared, cas_version=entries[0].version)
        await client.kv.put("text", b"hello again", stored)
        return [
            entries[0].value.decode(),
            entries[1].value == bytes(range(256)),
            len(entries[2].value),
            (await client.kv.scan("", ScanOptions(namespace=shared))).names,
            added.value,
        ]
