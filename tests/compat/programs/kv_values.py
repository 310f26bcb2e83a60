"""Values, versions and conditions."""

from flo import (
    Condition,
    DeleteOptions,
    GetOptions,
    KVExistsOptions,
    KVExpireOptions,
    KVIncrOptions,
    KVMGetOptions,
    PutOptions,
    ScanOptions,
)

from .common import Cluster, Seen, failure, text_of

# --- values and versions ---


async def a_value_is_read_as_it_was_put(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        stored = await client.kv.put("greeting", b"hello")
        found = await client.kv.get("greeting")
        assert found is not None
        return {"value": found.value.decode(), "same version": found.version == stored.version}


async def a_missing_key_is_none(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        return await text_of(client, "missing")


async def an_empty_value_is_a_value(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("empty", b"")
        return await text_of(client, "empty")


async def versions_grow_with_every_write(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        versions = [(await client.kv.put("k", b"%d" % number)).version for number in range(5)]
        versions.append((await client.kv.incr("k2")).version)
        await client.kv.delete("k")
        versions.append((await client.kv.put("k", b"again")).version)
        of_k = [*versions[:5], versions[6]]
        return {"grow": of_k == sorted(set(of_k)), "positive": min(versions) > 0}


async def delete_tells_whether_the_key_existed(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("k", b"v")
        first, second = await client.kv.delete("k"), await client.kv.delete("k")
        return [first, second, await text_of(client, "k")]


async def bytes_and_text_name_the_same_key(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("größe", b"1")
        await client.kv.put(b"\xff\xfe", b"not text")
        by_bytes = await client.kv.get("größe".encode())
        no_text = await client.kv.get(b"\xff\xfe")
        return [found.value.decode() if found else None for found in (by_bytes, no_text)]


async def namespaces_are_apart(cluster: Cluster) -> Seen:
    other = cluster.namespace + "-other"
    async with cluster.client() as client:
        await client.kv.put("k", b"here")
        before = await client.kv.get("k", GetOptions(namespace=other))
        await client.kv.put("k", b"there", PutOptions(namespace=other))
        await client.kv.incr("n", KVIncrOptions(namespace=other))
        there = await client.kv.get("k", GetOptions(namespace=other))
        entries = await client.kv.mget(["k", "n"], KVMGetOptions(namespace=other))
        page = await client.kv.scan("", ScanOptions(namespace=other))
        here = await client.kv.exists("n")
        exists = await client.kv.exists("n", KVExistsOptions(namespace=other))
        gone = await client.kv.delete("k", DeleteOptions(namespace=other))
        return {
            "before": before is None,
            "there": there.value.decode() if there else None,
            "mget": [entry.found for entry in entries],
            "scan": list(page.names),
            "exists": [here, exists],
            "deleted there": gone,
            "still here": await text_of(client, "k"),
        }


async def a_routing_key_changes_nothing(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("k", b"v", PutOptions(routing_key="elsewhere"))
        routed = await client.kv.get("k", GetOptions(routing_key="somewhere"))
        return [await text_of(client, "k"), routed.value.decode() if routed else None]


async def large_values(cluster: Cluster) -> Seen:
    """Up to what one frame of the SDK holds, also several in one answer."""
    value = bytes(range(256)) * 991
    async with cluster.client() as client:
        for number in range(4):
            await client.kv.put(f"large-{number}", value + b"%d" % number)
        found = await client.kv.get("large-0")
        entries = await client.kv.mget([f"large-{number}" for number in range(4)])
        return [
            found is not None and found.value == value + b"0",
            [entry.value == value + b"%d" % n for n, entry in enumerate(entries)],
        ]


# --- conditions ---


async def cas_lets_one_version_through(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        kv = client.kv
        first = await kv.put("k", b"1", PutOptions(cas_version=0))
        created_twice = await failure(kv.put("k", b"x", PutOptions(cas_version=0)))
        second = await kv.put("k", b"2", PutOptions(cas_version=first.version))
        stale = await failure(kv.put("k", b"x", PutOptions(cas_version=first.version)))
        stale_delete = await failure(kv.delete("k", DeleteOptions(cas_version=first.version)))
        value = await text_of(client, "k")
        deleted = await kv.delete("k", DeleteOptions(cas_version=second.version))
        missing = await failure(kv.delete("k", DeleteOptions(cas_version=second.version)))
        return {
            "created twice": created_twice,
            "stale put": stale,
            "stale delete": stale_delete,
            "value": value,
            "deleted": deleted,
            "delete of a missing key": missing,
        }


async def conditions_look_at_the_key(cluster: Cluster) -> Seen:
    absent, present = (
        PutOptions(condition=Condition.IF_ABSENT),
        PutOptions(condition=Condition.IF_PRESENT),
    )
    async with cluster.client() as client:
        refused = [await failure(client.kv.put("k", b"x", present))]
        await client.kv.put("k", b"1", absent)
        refused.append(await failure(client.kv.put("k", b"x", absent)))
        await client.kv.put("k", b"2", present)
        return [*refused, await text_of(client, "k")]


async def a_lock_is_taken_renewed_and_released_by_its_owner(cluster: Cluster) -> Seen:
    take = PutOptions(condition=Condition.IF_ABSENT, ttl_ms=60_000)
    async with cluster.client() as owner, cluster.client(1) as other:
        held = (await owner.kv.put("lock", b"owner", take)).version
        refused = await failure(other.kv.put("lock", b"other", take))
        for _ in range(3):
            await owner.kv.expire("lock", 60_000, KVExpireOptions(cas_version=held))
        stolen = await failure(other.kv.delete("lock", DeleteOptions(cas_version=held + 1)))
        released = await owner.kv.delete("lock", DeleteOptions(cas_version=held))
        await other.kv.put("lock", b"other", take)
        return [refused, stolen, released, await text_of(owner, "lock")]
