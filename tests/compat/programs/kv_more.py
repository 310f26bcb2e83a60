"""Several keys, counters, times to live, and what is refused."""

from flo import Condition, GetOptions, KVExpireOptions, KVIncrOptions, PutOptions, ScanOptions

from .common import Cluster, Seen, eventually, failure, text_of

# --- several keys ---


async def mget_keeps_order_and_duplicates(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("a", b"1")
        await client.kv.put("b", b"2")
        entries = await client.kv.mget(["b", "missing", b"a", "b"])
        rows: list[Seen] = [
            [entry.key, entry.value.decode(), entry.found, entry.version > 0] for entry in entries
        ]
        return {"rows": rows, "of nothing": len(await client.kv.mget([]))}


async def mget_of_as_many_keys_as_it_takes(cluster: Cluster) -> Seen:
    keys: list[str | bytes] = [f"key-{number}" for number in range(256)]
    async with cluster.client() as client:
        for key in keys[::2]:
            await client.kv.put(key, b"v")
        entries = await client.kv.mget(keys)
        return [[entry.key for entry in entries] == keys, sum(entry.found for entry in entries)]


async def scan_goes_through_all_pages_in_order(cluster: Cluster) -> Seen:
    names = [f"user:{number:03}" for number in range(50)]
    async with cluster.client() as client:
        for name in names:
            await client.kv.put(name, b"v")
        await client.kv.put("other", b"v")
        await client.kv.put("user:gone", b"v")
        await client.kv.delete("user:gone")
        page = await client.kv.scan("user:", ScanOptions(limit=7))
        pages = [page.names]
        while page.cursor is not None:
            page = await client.kv.scan("user:", ScanOptions(limit=7, cursor=page.cursor))
            pages.append(page.names)
        return {
            "names": [name for page in pages for name in page] == names,
            "sizes": [len(page) for page in pages],
            "has_more at the end": page.has_more,
            "everything": len((await client.kv.scan()).names),
            "nothing": len((await client.kv.scan("no such")).names),
            "bytes prefix": (await client.kv.scan(b"oth")).names == ["other"],
        }


async def scan_of_long_names_fits_the_answers(cluster: Cluster) -> Seen:
    """More bytes of names than one answer of the SDK holds; its cursor is shorter than a name."""
    names = [f"{number:03}" + "n" * 3_900 for number in range(120)]
    async with cluster.client() as client:
        for name in names:
            await client.kv.put(name, b"")
        page = await client.kv.scan()
        found, pages = list(page.names), 1
        while page.cursor is not None:
            page = await client.kv.scan("", ScanOptions(cursor=page.cursor))
            found, pages = [*found, *page.names], pages + 1
        return {"names": found == names, "more than one page": pages > 1}


# --- counters ---


async def incr_counts(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        deltas = (1, 5, -10, 0)
        values = [(await client.kv.incr("n", KVIncrOptions(delta=d))).value for d in deltas]
        values.append((await client.kv.incr("n")).value)
        stored = await client.kv.get("n")
        assert stored is not None
        await client.kv.put("eight", (41).to_bytes(8, "little"))
        after_put = await client.kv.incr("eight")
        return {"values": values, "stored": stored.value.hex(), "after a put": after_put.value}


async def incr_refuses_what_is_no_counter(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("text", b"hello")
        await client.kv.incr("full", KVIncrOptions(delta=(1 << 63) - 1))
        wrong = await failure(client.kv.incr("text"))
        over = await failure(client.kv.incr("full"))
        down = await client.kv.incr("full", KVIncrOptions(delta=-1))
        return [wrong, over, await text_of(client, "text"), down.value == (1 << 63) - 2]


# --- time to live ---


async def a_value_with_a_ttl_expires(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        kv = client.kv
        await kv.put("kept", b"v", PutOptions(ttl_ms=300))
        await kv.put("kept", b"v")  # no TTL given: it is cleared
        await kv.put("persisted", b"v", PutOptions(ttl_ms=60_000))
        await kv.expire("persisted", 0)
        await kv.put("expiring", b"v")
        before = await kv.get("expiring")
        await kv.expire("expiring", 2_000)
        expired = await kv.get("expiring")

        async def gone() -> bool:
            return not await kv.exists("expiring")

        await eventually(gone)
        conflict = await failure(kv.put("expiring", b"x", PutOptions(cas_version=1)))
        entries = await kv.mget(["kept", "persisted", "expiring"])
        await kv.put("expiring", b"new", PutOptions(condition=Condition.IF_ABSENT))
        return {
            "expire keeps the version": bool(
                before and expired and before.version == expired.version
            ),
            "there": [entry.found for entry in entries],
            "as if never there": conflict,
            "new": await text_of(client, "expiring"),
        }


async def expire_needs_the_key_and_its_version(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        missing = await failure(client.kv.expire("missing", 1000))
        version = (await client.kv.put("k", b"v")).version
        wrong = KVExpireOptions(cas_version=version + 1)
        return [missing, await failure(client.kv.expire("k", 1000, wrong))]


async def exists_tells_without_the_value(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("k", b"v")
        return [await client.kv.exists("k"), await client.kv.exists("missing")]


# --- what is refused ---


async def reserved_keys_are_refused(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("k", b"v")
        entries = await client.kv.mget(["_sys:k", "k"])
        return {
            "put": await failure(client.kv.put("_sys:k", b"v")),
            "get": await failure(client.kv.get("_flo:k")),
            "mget": [entry.found for entry in entries],
            "scan": list((await client.kv.scan()).names),
        }


async def keys_that_no_server_takes(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        refused = [
            await failure(client.kv.put("", b"v")),
            await failure(client.kv.get("with\0nul")),
            await failure(client.kv.put("k" * 4096, b"v")),
        ]
        await client.kv.put("k", b"v")
        return [*refused, await text_of(client, "k")]


async def a_cursor_that_no_scan_gave_is_refused(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        return await failure(client.kv.scan("", ScanOptions(cursor=b"made up")))


async def arguments_out_of_range_are_not_sent(cluster: Cluster) -> Seen:
    kv = cluster.client().kv  # not connected: whoever sent something would fail otherwise
    too_many: list[str | bytes] = ["k"] * 257
    async with cluster.client() as client:
        mget = await failure(client.kv.mget(too_many))
    return {
        "delta": await failure(kv.incr("k", KVIncrOptions(delta=1 << 63))),
        "ttl_ms": await failure(kv.expire("k", -1)),
        "put ttl_ms": await failure(kv.put("k", b"v", PutOptions(ttl_ms=-1))),
        "limit": await failure(kv.scan("", ScanOptions(limit=0))),
        "limit above 1024": await failure(kv.scan("", ScanOptions(limit=1025))),
        "wait_ms": await failure(kv.get("k", GetOptions(wait_ms=300_001))),
        "mget": mget,
    }


async def a_value_larger_than_a_frame(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        seen = await failure(client.kv.put("k", bytes(253_818)))
        await client.kv.put("k", b"v")
        return [seen, await text_of(client, "k")]
